"""From volumes and masks to feature tables: profiles, extraction, aggregation to patients, self-test."""
