//! Patches through the shard: uploads, new catalogs, exemptions, lists and baselines.
