//! SCAP, held against `oscap`, `xmllint` with the published schemas, `pcre2` and real content.

mod content;
mod documents;
mod fleet;
mod live;
mod native;
mod outputs;
mod oval;
mod patterns;
mod xccdf;
