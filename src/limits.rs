//! Every limit, by name. Enforced before the memory is spent; a refusal is a clear answer that loses nothing.

use serde::Deserialize;

/// What the daemon takes. `[limits]` in muster.toml overrides single values; docs/OPERATIONS.md lists them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request body as sent (413).
    pub body_bytes: usize,
    /// Bytes of an upload after decompression (413).
    pub inflated_bytes: usize,
    /// Decompressed bytes per compressed byte, past the first 64 KiB (413).
    pub inflate_ratio: usize,
    /// Rows of one scan (422).
    pub rows: usize,
    /// Bytes of one row as sent (422).
    pub row_bytes: usize,
    /// Bytes of one value (422).
    pub value_bytes: usize,
    /// Rows that one upload may bring which the fleet has never shown (422).
    pub new_rows: usize,
    /// Rows kept for the whole fleet (503 for uploads that bring new ones). The last eighth is for uploads that bring few.
    pub fleet_rows: usize,
    /// Bytes of those rows, in the same way.
    pub fleet_row_bytes: usize,
    /// Values of columns that are kept to find rows by them, of all columns together; past it questions look at all rows of a table.
    pub index_entries: usize,
    /// Dictionaries for uploads, each of at most 512 KiB, and as much again for decoding with it.
    pub dictionaries: usize,
    /// Sets of rows over which a question that joins rows is asked at most; past it the question is refused (422).
    pub question_joins: usize,
    /// Endpoints (503 on enrolment).
    pub endpoints: usize,
    /// Open connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Uploads that are inflated and judged at once; further ones wait.
    pub uploads_in_flight: usize,
    /// Uploads that wait for that, each with its body in memory (503 + Retry-After).
    pub uploads_waiting: usize,
    /// Uploads whose bodies are being read (503 + Retry-After).
    pub uploads_reading: usize,
    /// Bytes of an upload as sent from which it is a big one: a fourth of `uploads_in_flight` has places for those, and they take at most half of the processors.
    pub big_upload_bytes: usize,
    /// Uploads of one endpoint that are worked on at once (429 + Retry-After).
    pub endpoint_in_flight: usize,
    /// Uploads of one endpoint a minute (429 + Retry-After). 0: any number.
    pub endpoint_uploads: u64,
    /// Bytes that one endpoint may have inflated in an hour (429 + Retry-After). 0: any number.
    pub endpoint_bytes: u64,
    /// Rows that the fleet has never shown of one endpoint in an hour, beside the first `new_rows` (429 + Retry-After). 0: any number.
    pub endpoint_new_rows: u64,
    /// Rows that one endpoint and nobody else has (422).
    pub own_rows: usize,
    /// Bytes of those rows (422).
    pub own_bytes: usize,
    /// Uploads that share one fsync at most.
    pub commit_batch: usize,
    /// Seconds that a client may take to send its head or body.
    pub request_seconds: u64,
    /// Free bytes on the store's file system under which writes are refused (503). Never more than a twentieth of the disk.
    pub disk_reserve_bytes: u64,
    /// Events waiting for delivery in all sinks together; past it, new ones are counted and dropped from the outbox, never from history.
    pub outbox: usize,
    /// Rules in all packs together.
    pub rules: usize,
    /// Bytes of one rule file.
    pub rule_bytes: usize,
    /// Bytes of a SCAP content file after decompression.
    pub content_bytes: usize,
    /// How deep elements of XML may be nested.
    pub xml_depth: usize,
    /// Attributes of one tag, and namespaces in scope of one element.
    pub xml_attributes: usize,
    /// Bytes of one tag or one text in XML.
    pub xml_value_bytes: usize,
    /// Steps that a regular expression with look-around or back-references may take on one text; past them its test is an error.
    pub regex_steps: usize,
    /// Steps that resolving one XCCDF profile may take: settings applied, names looked up, things inherited.
    pub benchmark_steps: usize,
    /// Times that one baseline may ask the same OVAL documents with other values; rules past them are not checked.
    pub content_instances: usize,
    /// Values that one OVAL variable may have; past them it is an error.
    pub variable_values: usize,
    /// Items that one row may give one OVAL object; past them the object is an error.
    pub object_items: usize,
    /// Bytes of all values of one OVAL variable together; past them it is an error.
    pub variable_bytes: usize,
    /// Bytes of one document of a feed after decompression.
    pub feed_document_bytes: usize,
    /// Bytes of a whole feed or archive after decompression; it is read as a stream.
    pub feed_bytes: u64,
    /// Documents in one archive.
    pub feed_documents: usize,
    /// Advisories of one feed.
    pub feed_advisories: usize,
    /// Affected products of one advisory.
    pub feed_affected: usize,
    /// Rows of a feed that is a table.
    pub feed_rows: usize,
    /// Problems of one feed that are kept; further ones are counted.
    pub feed_problems: usize,
    /// Files of one feed: documents that a provider lists, files of a folder.
    pub feed_files: usize,
    /// Bytes of a feed's file that is brought through the API (413).
    pub feed_upload_bytes: u64,
    /// Syncs of a feed that are remembered.
    pub feed_history: usize,
    /// Lists of patches, the versions of one counted once.
    pub patch_lists: usize,
    /// Patches of one list, and patterns of one exemption.
    pub patch_list_entries: usize,
    /// Exemptions (Do Not Patch), those that are over and still remembered among them.
    pub exemptions: usize,
    /// Pairs of patch and superseding patch, direct and indirect.
    pub supersedence: usize,
    /// Groups of which trends are kept, the first of the configuration; the whole fleet's is beside them.
    pub trend_groups: usize,
    /// Endpoints of which trends are counted anew at once, while nobody reads the state.
    pub trend_counted: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 16 << 20,
            inflated_bytes: 64 << 20,
            inflate_ratio: 200,
            rows: 200_000,
            row_bytes: 1 << 20,
            value_bytes: 512 << 10,
            new_rows: 100_000,
            fleet_rows: 20_000_000,
            fleet_row_bytes: 4 << 30,
            index_entries: 16_000_000,
            dictionaries: 32,
            question_joins: 20_000,
            endpoints: 5_000_000,
            connections: 4_096,
            uploads_in_flight: 64,
            uploads_waiting: 256,
            uploads_reading: 1_024,
            big_upload_bytes: 1 << 20,
            endpoint_in_flight: 1,
            endpoint_uploads: 600,
            endpoint_bytes: 1 << 30,
            endpoint_new_rows: 20_000,
            own_rows: 100_000,
            own_bytes: 64 << 20,
            commit_batch: 256,
            request_seconds: 30,
            disk_reserve_bytes: 64 << 20,
            outbox: 1_000_000,
            rules: 65_000,
            rule_bytes: 256 << 10,
            content_bytes: 256 << 20,
            xml_depth: 200,
            xml_attributes: 256,
            xml_value_bytes: 4 << 20,
            regex_steps: 1_000_000,
            benchmark_steps: 20_000_000,
            content_instances: 256,
            variable_values: 100_000,
            object_items: 20_000,
            variable_bytes: 16 << 20,
            feed_document_bytes: 256 << 20,
            feed_bytes: 16 << 30,
            feed_documents: 2_000_000,
            feed_advisories: 2_000_000,
            feed_affected: 500_000,
            feed_rows: 5_000_000,
            feed_problems: 10_000,
            feed_files: 500_000,
            feed_upload_bytes: 4 << 30,
            feed_history: 100,
            patch_lists: 1_000,
            patch_list_entries: 20_000,
            exemptions: 10_000,
            supersedence: 10_000_000,
            trend_groups: 100,
            trend_counted: 16_384,
        }
    }
}

impl Limits {
    /// The relations between limits that the code relies on.
    pub fn check(&self) -> Result<(), String> {
        let at_least = |name: &str, value: usize, least: usize| {
            if value < least { Err(format!("limits.{name} is {value}, it must be at least {least}")) } else { Ok(()) }
        };
        at_least("body_bytes", self.body_bytes, 1024)?;
        at_least("inflated_bytes", self.inflated_bytes, self.body_bytes)?;
        at_least("row_bytes", self.row_bytes, self.value_bytes)?;
        at_least("inflate_ratio", self.inflate_ratio, 2)?;
        at_least("connections", self.connections, 1)?;
        at_least("uploads_in_flight", self.uploads_in_flight, 1)?;
        at_least("uploads_reading", self.uploads_reading, 1)?;
        at_least("endpoint_in_flight", self.endpoint_in_flight, 1)?;
        at_least("commit_batch", self.commit_batch, 1)?;
        // Row ids are u32 and the top bit marks an alias.
        if self.fleet_rows > (1 << 30) {
            return Err(format!("limits.fleet_rows is {}, it must be at most {}", self.fleet_rows, 1 << 30));
        }
        if self.rules > usize::from(u16::MAX) {
            return Err(format!("limits.rules is {}, it must be at most {}", self.rules, u16::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together() {
        assert_eq!(Limits::default().check(), Ok(()));
        assert!(Limits { inflated_bytes: 10, ..Limits::default() }.check().is_err());
    }
}
