//! Profiles, tailoring, platforms and scores against `oscap xccdf`.
