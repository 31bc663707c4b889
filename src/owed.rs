//! Rows that an object owes D1, and that its own alarm has given up: the runtime rings ten times in vain, and
//! then never again. Each minute a few users are asked for theirs, all by turns.

use domain::session::messages::Flush;
use futures::future::join_all;

use crate::context::Context;
use crate::objects::call;
use crate::{database, log};

/// Users who are asked a minute: fifty are through in five minutes, and a thousand in under two hours.
const ASKED: u32 = 10;

const MINUTE: f64 = 60_000.0;

/// ?1 is how many turns there have been, ?2 how many are asked in one. Whoever has sent anything has a cursor.
const NEXT: &str = "
    with turn as (select cast(?1 as integer) as number, cast(?2 as integer) as size,
        (select count(*) from outbox_cursors) as users)
    select json_group_array(user_id) as found from (select user_id from outbox_cursors
        order by outbox limit (select size from turn)
        offset (select number % max(1, (users + size - 1) / size) * size from turn))";

/// Asks those whose turn it is at this time, in Unix milliseconds.
pub async fn bring(context: &Context, time: f64) {
    let values = [(time / MINUTE).floor().into(), ASKED.into()];
    // D1 that is away is somebody else's to tell.
    let Ok(users) = database::ask::<Vec<String>>(context, NEXT, &values).await else { return };
    let asked = users.iter().map(|user_id| async move {
        if call(context, user_id, Flush {}).await.is_err() {
            log::fault("a user's object can't be asked for its rows", user_id);
        }
    });
    join_all(asked).await;
}
