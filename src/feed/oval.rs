//! OVAL patch and vulnerability definitions of distributions (Red Hat, Ubuntu, SUSE, Oracle, Photon) as advisories: packages below a version on a release.
