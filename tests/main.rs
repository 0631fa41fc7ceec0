mod cli;
mod engines;
mod generate;
mod versions;
