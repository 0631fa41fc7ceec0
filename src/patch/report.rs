//! Patches as people and programs see them: the same words in the API and on the command line.
