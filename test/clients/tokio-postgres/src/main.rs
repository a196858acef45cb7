//! tokio-postgres: prepares and describes every statement, reads in binary, suspends portals.

use std::env::var;
use std::error::Error as StdError;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, Row, SimpleQueryMessage, config::SslMode};

type Outcome = Result<Value, Box<dyn StdError>>;

const MASKED: &str =
    "select id, ssn, email, card_number, notes, profile::text, name from customers where id <= 20 order by id";
const PAGE: &str = "select id, ssn, email from customers where id > $1 order by id limit 100";
const SLOW: &str = "select count(*) from plain a, plain b, plain c, plain d, plain e, plain f";

fn report(check: &str, outcome: Outcome) {
    let members =
        outcome.unwrap_or_else(|error| json!({ "ok": false, "detail": format!("{error}: {:?}", error.source()) }));
    let rest = members
        .as_object()
        .unwrap_or(&Map::new())
        .iter()
        .map(|(name, value)| format!(",{}:{value}", json!(name)))
        .collect::<String>();
    println!("{{\"check\":{}{rest}}}", json!(check));
}

fn tls() -> MakeTlsConnector {
    let ca = Certificate::from_pem(&fs::read(var("CLIENT_CA").unwrap()).unwrap()).unwrap();
    MakeTlsConnector::new(TlsConnector::builder().add_root_certificate(ca).build().unwrap())
}

async fn connect(who: &str, port: &str) -> Result<Client, Box<dyn StdError>> {
    let mut config = Config::new();
    config
        .host(var("CLIENT_HOST")?)
        .port(var(port)?.parse()?)
        .dbname(var("CLIENT_DATABASE")?);
    config
        .user(var(format!("CLIENT_{who}"))?)
        .password(var(format!("CLIENT_{who}_PASSWORD"))?)
        .ssl_mode(SslMode::Require);
    let (client, connection) = config.connect(tls()).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn sqlstate<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "no error came".to_owned(),
        Err(error) => error
            .code()
            .map_or_else(|| format!("none: {error}"), |code| code.code().to_owned()),
    }
}

fn texts(rows: &[Row]) -> Vec<Vec<String>> {
    let cell = |row: &Row, column: usize| row.get::<_, Option<String>>(column).unwrap_or_default();
    rows.iter()
        .map(|row| {
            let rest = (1..row.len()).map(|column| cell(row, column));
            std::iter::once(row.get::<_, i64>(0).to_string()).chain(rest).collect()
        })
        .collect()
}

async fn types(client: &Client) -> Outcome {
    let row = client.query_one("select * from kinds where id = $1", &[&1_i32]).await?;
    let at: OffsetDateTime = row.get("at");
    let raw: Vec<u8> = row.get("raw");
    Ok(json!({ "values": {
        "id": row.get::<_, i32>("id").to_string(),
        "big": row.get::<_, i64>("big").to_string(),
        "exact": row.get::<_, Decimal>("exact").to_string(),
        "flag": row.get::<_, bool>("flag").to_string(),
        "at": at.format(&Rfc3339)?,
        "words": row.get::<_, String>("words"),
        "nothing": row.get::<_, Option<String>>("nothing"),
        "doc": row.get::<_, Value>("doc"),
        "tag": row.get::<_, uuid::Uuid>("tag").to_string(),
        "raw": raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "numbers": row.get::<_, Vec<Option<i32>>>("numbers"),
        "names": row.get::<_, Vec<Option<String>>>("names"),
    } }))
}

async fn cancelled(client: &Client, text: &str) -> Outcome {
    let token = client.cancel_token();
    let (result, _) = tokio::join!(client.simple_query(text), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        token.cancel_query(tls()).await
    });
    Ok(json!({ "sqlstate": sqlstate(result) }))
}

async fn pages(client: &Client) -> Outcome {
    let (mut last, mut total) = (0_i64, 0);
    loop {
        let rows = client.query(PAGE, &[&last]).await?;
        let Some(end) = rows.last() else {
            return Ok(json!({ "total": total }));
        };
        (last, total) = (end.get(0), total + rows.len());
    }
}

async fn pages_in_simple_protocol(client: &Client) -> Outcome {
    let (mut last, mut total) = ("0".to_owned(), 0);
    loop {
        let mut found = 0;
        for message in client.simple_query(&PAGE.replace("$1", &last)).await? {
            if let SimpleQueryMessage::Row(row) = message {
                last = row.get(0).unwrap_or_default().to_owned();
                found += 1;
            }
        }
        if found == 0 {
            return Ok(json!({ "ok": total == 300, "detail": total }));
        }
        total += found;
    }
}

async fn copy_out(client: &Client, text: &str) -> Outcome {
    let result = async {
        client
            .copy_out(text)
            .await?
            .try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
    };
    Ok(match result.await {
        Ok(data) => json!({ "data": String::from_utf8_lossy(&data) }),
        Err(error) => json!({ "sqlstate": sqlstate::<()>(Err(error)) }),
    })
}

async fn copy_in(client: &Client) -> Outcome {
    let sink = client.copy_in("copy arrivals (id, label) from stdin").await?;
    pin_mut!(sink);
    sink.send(Bytes::from_static(b"9001\tfrom tokio\n9002\tfrom tokio\n"))
        .await?;
    Ok(json!({ "ok": sink.finish().await? == 2 }))
}

async fn prepared(client: &Client) -> Outcome {
    let statement = client
        .prepare("select id, ssn, email from customers where id = $1")
        .await?;
    let mut all = Vec::new();
    for id in 1..=12_i64 {
        all.extend(texts(&client.query(&statement, &[&id]).await?));
    }
    Ok(json!({ "rows": all }))
}

/// A portal that is executed in steps of 70 rows.
async fn portal(client: &mut Client) -> Outcome {
    let transaction = client.transaction().await?;
    let portal = transaction
        .bind("select id, ssn, email from customers order by id", &[])
        .await?;
    let mut total = 0;
    loop {
        let rows = transaction.query_portal(&portal, 70).await?;
        total += rows.len();
        if rows.len() < 70 {
            break;
        }
    }
    transaction.commit().await?;
    Ok(json!({ "ok": total == 300, "detail": total }))
}

async fn stream(client: &Client) -> Outcome {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw("select id, ssn, email from customers", none).await?;
    pin_mut!(rows);
    let mut total = 0;
    while let Some(row) = rows.next().await {
        row?;
        total += 1;
    }
    Ok(json!({ "ok": total == 300 }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    report(
        "connect",
        async {
            connect("READER", "CLIENT_GATEWAY_PORT")
                .await?
                .simple_query("select 1")
                .await?;
            Ok(json!({}))
        }
        .await,
    );
    let mut reader = connect("READER", "CLIENT_PORT").await?;
    let designer = connect("DESIGNER", "CLIENT_PORT").await?;
    report(
        "masked",
        async { Ok(json!({ "rows": texts(&reader.query(MASKED, &[]).await?) })) }.await,
    );
    report("types", types(&reader).await);
    let mut states = Vec::new();
    for text in [
        "select 1 / (id - id) from plain",
        "select id from customers order by ssn",
        "selec 1",
    ] {
        states.push(sqlstate(reader.query(text, &[]).await));
    }
    report("errors", Ok(json!({ "sqlstates": states })));
    report("prepared", prepared(&reader).await);
    report("cancel", cancelled(&reader, SLOW).await);
    report(
        "cancel-held",
        cancelled(&designer, "select id, ssn from customers /* leave waiting */").await,
    );
    report("approved", pages(&designer).await);
    report("approved, simple protocol", pages_in_simple_protocol(&designer).await);
    let rejected = sqlstate(
        designer
            .simple_query(&format!("{} /* please reject */", PAGE.replace("$1", "0")))
            .await,
    );
    report(
        "rejected",
        async {
            designer.simple_query("select 1").await?;
            Ok(json!({ "sqlstate": rejected }))
        }
        .await,
    );
    report("copy-out", copy_out(&reader, "copy customers to stdout").await);
    report("copy-in", copy_in(&reader).await);
    report("portal", portal(&mut reader).await);
    report("stream", stream(&reader).await);
    Ok(())
}
