//! The regular expressions of SCAP content (PCRE) on engines that cannot hang.
