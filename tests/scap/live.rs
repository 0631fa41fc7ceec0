//! This host: `muster scan --for` a data stream, judged natively, against `oscap xccdf eval` of the same host at the same time.
