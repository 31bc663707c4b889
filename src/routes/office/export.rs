//! `GET /operator/api/export`: the rows of requests, as a file.

use domain::clock::sql_text;
use domain::spreadsheet;
use futures::stream;
use js_sys::Uint8Array;
use serde::Deserialize;
use serde_json::value::RawValue;
use wasm_bindgen::JsValue;
use wasm_streams::ReadableStream;

use crate::context::Context;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{database, log};

/// Rows that are asked for at once.
const BATCH: u32 = 2_000;

const COLUMNS: [&str; 16] = [
    "id",
    "created_at",
    "user_id",
    "project",
    "endpoint",
    "model",
    "status",
    "error_code",
    "count",
    "latency_ms",
    "ttfb_ms",
    "tokens_est",
    "tokens_source",
    "month",
    "request_id",
    "provider_requests",
];

/// Everybody's rows in the order of their times, one user's in that of their arrival: each is the order of
/// an index. ?1 and ?2 are the time and the id at which the last page ended, ?3 a user or nothing, ?4 and
/// ?5 the times from and to, ?6 how many.
const OF_ALL: &str = "where created_at >= ?1 and (created_at, id) > (?1, ?2)
    and created_at >= ?4 and (?5 = '' or created_at < ?5) order by created_at, id limit ?6";
const OF_ONE: &str = "where user_id = ?3 and id > ?2
    and created_at >= ?4 and (?5 = '' or created_at < ?5) order by id limit ?6";

#[derive(Clone, Copy)]
enum Format {
    Csv,
    JsonLines,
}

#[derive(Deserialize)]
struct Page {
    /// The time and the id at which it ends; nothing where it is empty.
    end: Option<(String, u64)>,
    rows: Vec<Vec<Box<RawValue>>>,
}

/// How far an export is.
struct Export {
    context: Context,
    format: Format,
    /// The user and the times that are asked for.
    filter: [String; 3],
    /// Where the last page ended.
    end: (String, u64),
    is_begun: bool,
    is_over: bool,
}

/// `GET /operator/api/export?format=csv|jsonl&user_id=&from=&to=`: 200 and a file, as it is read. Where
/// D1 fails in the middle of it, the transfer breaks off.
///
/// # Errors
/// [`Error::InvalidQuery`]; [`Error::DatabaseUnavailable`] where D1 fails at once.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let format = match incoming.asked("format").as_deref() {
        None | Some("csv") => Format::Csv,
        Some("jsonl") => Format::JsonLines,
        Some(_) => {
            return Err(Error::InvalidQuery { problem: "`format` is csv or jsonl.".to_owned() });
        }
    };
    let user_id = incoming.asked("user_id").unwrap_or_default().to_ascii_lowercase();
    let filter = [user_id, moment(incoming, "from")?, moment(incoming, "to")?];
    let context = context.clone();
    let mut export =
        Export { context, format, filter, end: <_>::default(), is_begun: false, is_over: false };
    // What fails at once is an answer, not a broken file.
    let first = export.next().await?;
    let rest = stream::unfold(export, |mut export| async move {
        if export.is_over {
            return None;
        }
        let next = export.next().await.map_err(|error| JsValue::from(error.to_string()));
        export.is_over |= next.is_err();
        Some((next, export))
    });
    let chunks = futures::StreamExt::chain(stream::iter([Ok(first)]), rest);
    let chunks = futures::StreamExt::map(chunks, |chunk| {
        chunk.map(|text| JsValue::from(Uint8Array::from(text.as_bytes())))
    });
    let body = ReadableStream::from_stream(chunks).into_raw();
    let (content_type, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "requests.csv"),
        Format::JsonLines => ("application/x-ndjson", "requests.jsonl"),
    };
    log::early(incoming, 200, None);
    Ok(Reply::new(200, HeaderList::default(), body).with([
        ("content-type", content_type),
        ("content-disposition", &format!("attachment; filename=\"{name}\"")),
        ("cache-control", "no-store"),
    ]))
}

/// A time of the query as D1 has it; empty where there is none.
fn moment(incoming: &Incoming, name: &str) -> Result<String, Error> {
    Ok(incoming.asked_moment(name)?.map(sql_text).unwrap_or_default())
}

impl Export {
    /// The next part of the file.
    async fn next(&mut self) -> Result<String, Error> {
        let [user_id, from, to] = self.filter.each_ref().map(|text| text.as_str().into());
        let (time, id) = &self.end;
        #[expect(clippy::cast_precision_loss, reason = "ids are far below 2^53")]
        let values = [time.as_str().into(), (*id as f64).into(), user_id, from, to, BATCH.into()];
        let query = query(if self.filter[0].is_empty() { OF_ALL } else { OF_ONE });
        let Page { end, rows } = database::ask(&self.context, &query, &values).await?;
        self.end = end.unwrap_or_default();
        self.is_over = rows.len() < BATCH as usize;
        let mut text = String::new();
        if !std::mem::replace(&mut self.is_begun, true) && matches!(self.format, Format::Csv) {
            text += &spreadsheet::row(COLUMNS.into_iter());
        }
        for row in &rows {
            match self.format {
                Format::Csv => {
                    let cells = row.iter().map(|value| spreadsheet::cell(value.get()));
                    text += &spreadsheet::row(cells);
                }
                Format::JsonLines => text += &line(row),
            }
        }
        Ok(text)
    }
}

fn query(rows: &str) -> String {
    format!(
        "with page as (select *, row_number() over () as place from (select * from requests {rows}))
        select json_object(
          'end', json((select json_array(created_at, id) from page order by place desc limit 1)),
          'rows', (select json_group_array(json_array(id, replace(created_at, ' ', 'T') || 'Z',
              user_id, project, endpoint, model, status, error_code, count, latency_ms, ttfb_ms,
              tokens_est, tokens_source, month, request_id, provider_requests))
            from (select * from page order by place))) as found"
    )
}

/// A row as a line of JSON.
fn line(row: &[Box<RawValue>]) -> String {
    let members =
        COLUMNS.iter().zip(row).map(|(name, value)| format!("\"{name}\":{}", value.get()));
    format!("{{{}}}\n", members.collect::<Vec<_>>().join(","))
}
