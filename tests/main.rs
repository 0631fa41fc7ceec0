mod engines;
mod generate;
mod versions;
