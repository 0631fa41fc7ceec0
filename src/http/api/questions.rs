//! Questions to the fleet, and what would be were the rules others. Both are POSTs because of what they carry; nothing is changed by them.

use super::super::{Answer, Call, ok};
use crate::clock;
use crate::compute::compute;
use crate::question::whatif::{Body, whatif};
use crate::question::{Query, query};

/// `POST /v1/query`
pub async fn ask(call: Call) -> Answer {
    call.query(&[])?;
    let (ingest, asked) = (call.core()?.ingest.clone(), call.json::<Query>().await?);
    ok(&compute(move || query(&*ingest, &asked, clock::now_ms())).await??)
}

/// `POST /v1/whatif`
pub async fn what_if(call: Call) -> Answer {
    call.query(&[])?;
    let most = call.app.config.load().limits.body_bytes;
    let (ingest, body) = (call.core()?.ingest.clone(), call.json_within::<Body>(most).await?);
    ok(&compute(move || whatif(&*ingest, &body, clock::now_ms())).await??)
}
