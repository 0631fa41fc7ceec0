//! OpenVEX documents (Ubuntu's among them): statements about package URLs in, an advisory for each vulnerability out.
