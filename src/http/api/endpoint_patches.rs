//! The patches of one endpoint: how they stand, why, and what to do in which order.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::super::problem::{Kind, Problem};
use super::super::query;
use super::super::{Answer, Call, ok};
use super::patches::{filter_of, found, groups_of, states};
use crate::compute::compute;
use crate::fleet::rows;
use crate::limits::Limits;
use crate::patch::State;
use crate::patch::catalog::Catalog;
use crate::patch::list::Scope;
use crate::patch::plan::plan;
use crate::patch::report::{Host, Standing, TABLES, page};
use crate::scan::table::TableId;
use crate::shard::{Refusal, Shard};

/// What of an endpoint bears on patches, copied while the fleet is held; parsed after it.
struct Copied {
    catalog: Arc<Catalog>,
    host: Host,
    rows: Vec<(TableId, Vec<u8>)>,
    limits: Limits,
}

impl Copied {
    fn of(shard: &Shard, id: &str) -> Result<Copied, Problem> {
        let endpoint = shard.fleet.find(id).and_then(|at| shard.fleet.get(at)).ok_or_else(|| Refusal::UnknownEndpoint(id.to_owned()))?;
        let Some(held) = &endpoint.held else { return Err(Problem::new(Kind::NoScan, format!("`{id}` has sent no scan yet"))) };
        let tables = || TABLES.into_iter().filter_map(TableId::by_name);
        let copy = |table: TableId| shard.fleet.rows_in(held, table).into_iter().map(move |row| (table, shard.rows().bytes(row).to_vec()));
        let groups = groups_of(shard, endpoint);
        let here = |scope: &Scope| match scope {
            Scope::Endpoint(id) => *id == endpoint.id,
            Scope::Group(name) => groups.contains(name),
            Scope::Everywhere => true,
        };
        let exemptions = shard.decisions.exemptions.values().filter(|e| shard.exemption_holds(&e.id) && here(&e.scope)).cloned().collect();
        Ok(Copied {
            catalog: shard.catalog.clone(),
            rows: tables().flat_map(copy).collect(),
            limits: shard.limits().clone(),
            host: Host {
                endpoint: endpoint.id.clone(),
                value: endpoint.labels.get("value").cloned(),
                collected: tables().filter(|t| held.tables.collected.contains(t)).collect::<BTreeSet<_>>(),
                rows: Vec::new(),
                exemptions,
                groups,
            },
        })
    }

    fn standing(&self, fully: bool) -> Standing<'_> {
        let mut host = self.host.clone();
        host.rows = self.rows.iter().filter_map(|(table, row)| rows::parse(*table, row, &self.limits)).collect();
        Standing::of(&self.catalog, host, fully)
    }
}

async fn copied(call: &Call) -> Result<Copied, Problem> {
    let id = call.param(0).to_owned();
    call.fleet(move |shard| Copied::of(shard, &id)).await?
}

/// `GET /v1/endpoints/{id}/patches`
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["state", "filter", "limit", "cursor"])?;
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    let affected: Vec<State> = State::ALL.into_iter().filter(|s| s.is_affected()).collect();
    let wanted = states(&query, &affected)?;
    let filter = filter_of(&call, query.get("filter").unwrap_or_default()).await?;
    let copied = copied(&call).await?;
    let fully = !wanted.iter().all(|s| s.is_affected());
    let mut found = compute(move || page::patches(&copied.standing(fully), &wanted, &filter, limit, &cursor)).await?;
    found.next_cursor = found.next_cursor.map(|c| query::cursor(&c));
    ok(&found)
}

/// `GET /v1/endpoints/{id}/patches/{patch}`: how it stands there, and why; once for each feed that has it.
pub async fn why(call: Call) -> Answer {
    let query = call.query(&["feed"])?;
    let feed = query.get("feed").map(str::to_owned);
    let patch = call.param(1).to_owned();
    let copied = copied(&call).await?;
    let found = found(&copied.catalog, &patch, feed.as_deref())?;
    let endpoint = copied.host.endpoint.clone();
    let whys = compute(move || {
        let standing = copied.standing(true);
        found.into_iter().filter_map(|p| standing.why(p)).collect::<Vec<_>>()
    })
    .await?;
    ok(&json!({"endpoint": endpoint, "items": whys}))
}

/// `GET /v1/endpoints/{id}/plan`
pub async fn steps(call: Call) -> Answer {
    call.query(&[])?;
    let copied = copied(&call).await?;
    ok(&compute(move || plan(&copied.standing(false))).await?)
}
