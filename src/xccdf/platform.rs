//! Platforms: CPE names, dictionaries and the applicability language.
