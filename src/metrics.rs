//! Every metric, declared once: name, help, labels. docs/OPERATIONS.md lists them.
//!
//! INVARIANT: label values come from closed lists, or from the configuration (sinks, baselines): never an endpoint, a CVE or a user.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds, from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// The same for what concerns the whole fleet.
const SWAP_SECONDS: [f64; 9] = [0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// What an upload can come to.
pub const UPLOAD_OUTCOMES: [&str; 7] = ["changed", "unchanged", "recognised", "refused", "busy", "limited", "failed"];
/// For want of what an upload is told to come again, or by which limit it is refused.
pub const REFUSED: [&str; 10] = [
    "reading",
    "waiting",
    "endpoint_in_flight",
    "endpoint_uploads",
    "endpoint_bytes",
    "endpoint_new_rows",
    "own_rows",
    "own_bytes",
    "fleet_rows",
    "fleet_row_bytes",
];
/// What a delivery can come to.
pub const DELIVERY_OUTCOMES: [&str; 3] = ["delivered", "failed", "dead"];

macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $make:expr;)*) => {
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl Metrics {
            pub fn new() -> Result<Metrics, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field: $kind = $make?;
                    registry.register(Box::new($field.clone()))?;
                )*
                let metrics = Metrics { registry, $($field,)* };
                metrics.start_at_zero();
                Ok(metrics)
            }
        }
    };
}

fn seconds(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(SECONDS.to_vec())
}

metrics! {
    build_info: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_build_info", "Always 1; the version is a label."), &["version"]);
    uploads: IntCounterVec = IntCounterVec::new(Opts::new("muster_uploads_total", "Scan uploads, by what became of them."), &["outcome"]);
    uploads_refused: IntCounterVec = IntCounterVec::new(Opts::new("muster_uploads_refused_total", "Uploads refused because there are too many, or one endpoint sends too much, by what there was none of."), &["reason"]);
    uploads_in_flight: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_uploads_in_flight", "Uploads that are read, wait, or are worked on."), &["stage"]);
    uploads_lag: Gauge = Gauge::new("muster_uploads_oldest_wait_seconds", "How long the oldest upload waits that waits to be worked on.");
    limited: IntGauge = IntGauge::new("muster_endpoints_limited", "Endpoints that are refused for what they send; events and the log name them.");
    upload_bytes: IntCounter = IntCounter::new("muster_upload_bytes_total", "Bytes of scan uploads as sent.");
    upload_seconds: Histogram = Histogram::with_opts(seconds("muster_upload_duration_seconds", "From the whole body to the durable answer."));
    prepare_seconds: Histogram = Histogram::with_opts(seconds("muster_upload_prepare_seconds", "Inflating, decoding and asking new rows, one upload."));
    rows_new: IntCounter = IntCounter::new("muster_rows_new_total", "Rows that the fleet had never shown.");
    commits: IntCounter = IntCounter::new("muster_commits_total", "Batches made durable.");
    commit_inputs: IntCounter = IntCounter::new("muster_commit_inputs_total", "Uploads and other changes in those batches.");
    commit_seconds: Histogram = Histogram::with_opts(seconds("muster_commit_duration_seconds", "Writing one batch and waiting for the disk."));
    queue: IntGauge = IntGauge::new("muster_writer_queue", "Changes that wait for the writer.");
    freshness: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_endpoints_freshness", "Enrolled endpoints, by when they were last heard of."), &["freshness"]);
    verdicts_stale: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_verdicts_stale", "Those of muster_verdicts at endpoints that are stale or silent."), &["severity", "verdict"]);
    patches_missing_stale: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_patches_missing_stale", "Those of muster_patches_missing at endpoints that are stale or silent."), &["severity"]);
    row_bytes: IntGauge = IntGauge::new("muster_row_bytes", "Bytes of those rows and of their other spellings.");
    swap_seconds: Histogram = Histogram::with_opts(HistogramOpts::new("muster_swap_duration_seconds", "Judging the fleet by another pack or policy, until it is durable.").buckets(SWAP_SECONDS.to_vec()));
    swap_progress: Gauge = Gauge::new("muster_swap_progress", "About the share of the swap under way that is done; 1: none is.");
    endpoints: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_endpoints", "Enrolled endpoints, by whether a scan is held."), &["state"]);
    rows: IntGauge = IntGauge::new("muster_rows", "Distinct rows of the whole fleet.");
    images: IntGauge = IntGauge::new("muster_images", "Row sets that endpoints share.");
    classes: IntGauge = IntGauge::new("muster_verdict_classes", "Distinct verdict vectors.");
    rules: IntGauge = IntGauge::new("muster_rules", "Rules of the present pack.");
    verdicts: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_verdicts", "Verdicts over all endpoints and rules."), &["severity", "verdict"]);
    drift: IntCounterVec = IntCounterVec::new(Opts::new("muster_drift_total", "Episodes by what happened to them since the start."), &["change"]);
    tasks: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_tasks", "Deployment tasks."), &["state"]);
    patches: IntGauge = IntGauge::new("muster_patches", "Patches of the present catalog.");
    patches_missing: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_patches_missing", "Missing patches over all endpoints."), &["severity"]);
    patch_states: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_patch_states", "Patches over all endpoints, by how they stand."), &["state"]);
    missing_exploited: IntGauge = IntGauge::new("muster_endpoints_missing_exploited", "Endpoints that miss a patch for something that is exploited.");
    patches_not_collected: IntGauge = IntGauge::new("muster_endpoints_patches_not_collected", "Endpoints whose scans lack what decides how patches stand.");
    /// Not there until they were counted: none is another thing than not known.
    compliant: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_endpoints_compliant", "Endpoints that fail no rule of high or critical severity, of those with a scan."), &[]);
    open_episodes: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_open_episodes", "Failures that are written down and not resolved."), &[]);
    history_reach: Gauge = Gauge::new("muster_history_reach_timestamp_seconds", "The first instant of which it can be told what was.");
    patch_alerts: IntGauge = IntGauge::new("muster_patch_alerts", "Published patches that some endpoint misses.");
    exemptions: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_exemptions", "Decisions that patches are not installed."), &["state"]);
    outbox: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_outbox_pending", "Events that wait for a sink, and those that were given up."), &["sink", "state"]);
    outbox_age: GaugeVec = GaugeVec::new(Opts::new("muster_outbox_oldest_age_seconds", "Age of the oldest event that waits for a sink."), &["sink"]);
    outbox_dropped: IntCounter = IntCounter::new("muster_outbox_dropped_total", "Events not put into the full outbox (limits.outbox); history has them.");
    deliveries: IntCounterVec = IntCounterVec::new(Opts::new("muster_deliveries_total", "Delivery attempts."), &["sink", "outcome"]);
    delivery_seconds: HistogramVec = HistogramVec::new(seconds("muster_delivery_duration_seconds", "One delivery attempt."), &["sink"]);
    feed_success: GaugeVec = GaugeVec::new(Opts::new("muster_feed_last_success_timestamp_seconds", "When a feed was last up to date; 0: never."), &["feed"]);
    feed_entries: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_feed_entries", "Patches (or CVEs) of a feed."), &["feed"]);
    feed_syncs: IntCounterVec = IntCounterVec::new(Opts::new("muster_feed_sync_total", "Syncs and imports of a feed since the start, by any process."), &["feed", "outcome"]);
    feed_problems: IntGaugeVec = IntGaugeVec::new(Opts::new("muster_feed_problems", "What could not be used of a feed."), &["feed"]);
    http: IntCounterVec = IntCounterVec::new(Opts::new("muster_http_requests_total", "Requests by route and status class."), &["route", "status"]);
    config_ok: IntGauge = IntGauge::new("muster_config_last_reload_successful", "Whether the last configuration was taken.");
    config_time: Gauge = Gauge::new("muster_config_last_reload_success_timestamp_seconds", "When a configuration was last taken.");
    events: IntGauge = IntGauge::new("muster_last_event", "Number of the newest event.");
    start_time: Gauge = Gauge::new("muster_start_timestamp_seconds", "When the daemon was ready.");
}

impl Metrics {
    /// Known label sets exist from the start, so that alerts see the first increment.
    fn start_at_zero(&self) {
        self.swap_progress.set(1.0);
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        UPLOAD_OUTCOMES.iter().for_each(|o| drop(self.uploads.with_label_values(&[o])));
        for change in ["opened", "updated", "resolved", "reopened"] {
            self.drift.with_label_values(&[change]);
        }
        crate::deploy::TaskState::ALL.iter().for_each(|s| drop(self.tasks.with_label_values(&[s.name()])));
        for severity in crate::rule::Severity::ALL {
            for verdict in crate::judge::Verdict::ALL {
                self.verdicts.with_label_values(&[severity.name(), verdict.name()]);
                self.verdicts_stale.with_label_values(&[severity.name(), verdict.name()]);
            }
        }
        crate::feed::model::Level::ALL.iter().for_each(|l| drop(self.patches_missing.with_label_values(&[l.name()])));
        crate::shard::PatchTotals::STATES.iter().for_each(|s| drop(self.patch_states.with_label_values(&[s.name()])));
        ["active", "expired"].iter().for_each(|s| drop(self.exemptions.with_label_values(&[s])));
        crate::feed::model::Level::ALL.iter().for_each(|l| drop(self.patches_missing_stale.with_label_values(&[l.name()])));
        ["held", "no_scan"].iter().for_each(|s| drop(self.endpoints.with_label_values(&[s])));
        ["reading", "waiting", "working"].iter().for_each(|s| drop(self.uploads_in_flight.with_label_values(&[s])));
        REFUSED.iter().for_each(|r| drop(self.uploads_refused.with_label_values(&[r])));
        crate::shard::Freshness::ALL.iter().for_each(|f| drop(self.freshness.with_label_values(&[f.name()])));
    }

    /// The label sets of a sink.
    pub fn know_sink(&self, sink: &str) {
        DELIVERY_OUTCOMES.iter().for_each(|o| drop(self.deliveries.with_label_values(&[sink, o])));
        for state in ["pending", "dead"] {
            self.outbox.with_label_values(&[sink, state]);
        }
        self.outbox_age.with_label_values(&[sink]);
    }

    /// The label sets of a feed.
    pub fn know_feed(&self, feed: &str) {
        crate::subscription::state::OUTCOMES.iter().for_each(|o| drop(self.feed_syncs.with_label_values(&[feed, o])));
        self.feed_success.with_label_values(&[feed]);
        self.feed_entries.with_label_values(&[feed]);
        self.feed_problems.with_label_values(&[feed]);
    }

    /// A feed that is configured no more is not one that is late.
    pub fn forget_feed(&self, feed: &str) {
        // What was never there needs not be removed.
        crate::subscription::state::OUTCOMES.iter().for_each(|o| drop(self.feed_syncs.remove_label_values(&[feed, o])));
        drop(self.feed_success.remove_label_values(&[feed]));
        drop(self.feed_entries.remove_label_values(&[feed]));
        drop(self.feed_problems.remove_label_values(&[feed]));
    }

    /// The exposition text, `text/plain; version=0.0.4`.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Families were checked when they were registered; a String takes what is written.
        if let Err(e) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut out) {
            tracing::error!(error = %e, "metrics cannot be written");
        }
        out
    }
}
