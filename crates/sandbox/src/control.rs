//! The control listener: tells the stand-ins how to behave, and reads the books.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::books::expected::{Product, product_by_id};
use crate::books::verify::Expectation;
use crate::catalog::column;
use crate::faults::{Fault, Misbehaviour};
use crate::http::{Reply, Request, Service};
use crate::mdm::Mdm;
use crate::mdm::scalar::milliseconds;
use crate::mdm::schema::{MODIFIED, PRICE, PRODUCT};
use crate::mdm::table::{Database, Record};
use crate::smtp::Smtp;
use crate::targets::crm::Crm;
use crate::targets::erp::Erp;
use crate::targets::shop::Shop;
use crate::targets::sink::Sink;
use crate::usage;

const PARTICULARS: usize = 20;

#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) mdm: Arc<Mdm>,
    pub(crate) crm: Arc<Crm>,
    pub(crate) erp: Arc<Erp>,
    pub(crate) shop: Arc<Shop>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) mail: Arc<Smtp>,
}

type Answer = Result<Value, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    /// Spread over all kinds of the stand-in's mix.
    rate: Option<f64>,
    /// By kind, on top of the mix.
    #[serde(default)]
    rates: Map<String, Value>,
    slow_ms: Option<u64>,
    retry_after: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Down {
    /// Until told `up` when not given.
    seconds: Option<f64>,
    how: How,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum How {
    #[default]
    #[serde(rename = "503")]
    Unavailable,
    Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unique {
    enforced: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Products {
    ids: Vec<String>,
    /// So many, spread over the catalogue.
    count: usize,
}

impl Control {
    fn route(&self, request: &Request) -> Option<Answer> {
        let path = request.uri.path().strip_prefix("/control/")?;
        let parts: Vec<&str> = path.split('/').collect();
        match (&request.method, parts.as_slice()) {
            (&Method::GET, ["verify"]) => Some(self.verify(request)),
            (&Method::GET, ["sink"]) => Some(Ok(self.sink.report())),
            (&Method::GET, ["stats"]) => Some(Ok(self.stats())),
            (&Method::GET, ["expected", id]) => Some(Ok(self.expected(id))),
            (&Method::POST, ["reset"]) => Some(Ok(self.reset())),
            (&Method::POST, ["mdm", "change"]) => Some(self.edit(request, changed)),
            (&Method::POST, ["mdm", "delete"]) => Some(self.edit(request, |_, _| None)),
            (&Method::POST, ["crm", "rotate"]) => {
                self.crm.rotate();
                Some(Ok(json!({ "tokens": "void" })))
            }
            (&Method::POST, ["shop", "unique"]) => Some(parsed::<Unique>(request).map(|unique| {
                self.shop.set_unique(unique.enforced);
                json!({ "enforced": unique.enforced })
            })),
            (&Method::POST, [target, what]) => self.target(request, target, what),
            _ => None,
        }
    }

    fn target(&self, request: &Request, target: &str, what: &str) -> Option<Answer> {
        let misbehaviour = match target {
            "mdm" => &self.mdm.misbehaviour,
            "crm" => &self.crm.misbehaviour,
            "erp" => &self.erp.misbehaviour,
            "shop" => &self.shop.misbehaviour,
            "mail" => &self.mail.misbehaviour,
            "sink" => &self.sink.misbehaviour,
            _ => return None,
        };
        match what {
            "faults" => Some(set_faults(request, misbehaviour)),
            "down" => Some(take_down(request, misbehaviour)),
            "up" => {
                misbehaviour.up();
                Some(Ok(json!({ "down": false })))
            }
            "credentials" if !matches!(target, "sink" | "mail") => {
                Some(parsed::<Credentials>(request).map(|Credentials { secret }| {
                    match target {
                        "mdm" => self.mdm.set_password(&secret),
                        "crm" => self.crm.set_secret(&secret),
                        "erp" => self.erp.set_secret(&secret),
                        _ => self.shop.set_secret(&secret),
                    }
                    json!({ "changed": true })
                }))
            }
            _ => None,
        }
    }

    fn verify(&self, request: &Request) -> Answer {
        let ids = request.parameter("ids").unwrap_or_default();
        let particulars = match request.parameter("limit") {
            None => PARTICULARS,
            Some(text) => text.parse().map_err(|_| format!("limit={text} is no number"))?,
        };
        let wanted = request.parameter("targets").unwrap_or_else(|| "crm,erp,shop".to_owned());
        let ids: Vec<String> =
            ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        let expectation = Expectation::new(&self.mdm.database(), &ids);
        let mut targets = Map::new();
        for name in wanted.split(',') {
            let compared = match name {
                "crm" => expectation.compare(&self.crm.ledger, Product::for_crm, particulars),
                "erp" => expectation.compare(&self.erp.ledger, Product::for_erp, particulars),
                "shop" => expectation.compare(&self.shop.ledger, Product::for_shop, particulars),
                _ => return Err(format!("there is no target '{name}', only crm, erp and shop")),
            };
            targets.insert(name.to_owned(), compared);
        }
        let verified = targets.values().all(|target| target["verified"] == true);
        Ok(json!({
            "verified": verified,
            "catalog": expectation.summary(particulars),
            "targets": targets,
            "mail": self.mail.report(particulars),
        }))
    }

    fn stats(&self) -> Value {
        let of = |requests: Value, misbehaviour: &Misbehaviour| {
            let total: u64 =
                requests.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
            json!({ "requests": total, "by_kind": requests, "faults": misbehaviour.report() })
        };
        let mdm = of(self.mdm.report(), &self.mdm.misbehaviour);
        let crm = of(self.crm.counts.report(), &self.crm.misbehaviour);
        let erp = of(self.erp.counts.report(), &self.erp.misbehaviour);
        let shop = of(self.shop.counts.report(), &self.shop.misbehaviour);
        let sink = of(self.sink.counts.report(), &self.sink.misbehaviour);
        let mail = of(self.mail.counts.report(), &self.mail.misbehaviour);
        let requests: u64 = [&mdm, &crm, &erp, &shop, &sink, &mail]
            .iter()
            .filter_map(|part| part["requests"].as_u64())
            .sum();
        json!({
            "requests": requests,
            "cpu_seconds": usage::cpu_seconds(),
            "peak_mib": usage::peak_mib(),
            "mdm": mdm,
            "crm": crm,
            "erp": erp,
            "shop": shop,
            "sink": sink,
            "mail": mail,
        })
    }

    fn expected(&self, id: &str) -> Value {
        match product_by_id(&self.mdm.database(), id) {
            None => Value::Null,
            Some(Err(broken)) => json!({ "invalid": broken.report() }),
            Some(Ok(product)) => json!({
                "crm": product.for_crm(),
                "erp": product.for_erp(),
                "shop": product.for_shop(),
            }),
        }
    }

    /// Empties the targets and sets all counters to zero; the catalogue and the behaviour stay.
    fn reset(&self) -> Value {
        self.mdm.forget_counts();
        self.crm.forget();
        self.erp.forget();
        self.shop.forget();
        self.mail.forget();
        self.sink.forget();
        for misbehaviour in [
            &self.mdm.misbehaviour,
            &self.crm.misbehaviour,
            &self.erp.misbehaviour,
            &self.shop.misbehaviour,
            &self.sink.misbehaviour,
            &self.mail.misbehaviour,
        ] {
            misbehaviour.forget_counts();
        }
        json!({ "reset": true })
    }

    /// Edits products with their prices; the answer names them.
    fn edit(&self, request: &Request, edit: impl Fn(usize, &Record) -> Option<Record>) -> Answer {
        let products: Products = parsed(request)?;
        let database = self.mdm.database();
        let ids =
            if products.ids.is_empty() { spread(&database, products.count) } else { products.ids };
        let mut edited = (*database).clone();
        for (entity, key) in [(PRODUCT, "ProductID"), (PRICE, "ProductID")] {
            let key = column(entity, key);
            let table = database.table(entity).edited(|record| {
                if record[key].as_ref().is_some_and(|id| ids.contains(id)) {
                    edit(entity, record)
                } else {
                    Some(record.clone())
                }
            });
            edited.tables[entity] = Arc::new(table.map_err(|error| error.to_string())?);
        }
        self.mdm.replace(edited);
        Ok(json!({ "ids": ids }))
    }
}

fn parsed<'a, T: Deserialize<'a> + 'a>(request: &'a Request) -> Result<T, String> {
    let body: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    serde_json::from_slice(body).map_err(|error| format!("body: {error}"))
}

fn set_faults(request: &Request, misbehaviour: &Misbehaviour) -> Answer {
    let faults: Faults = parsed(request)?;
    let chance = |rate: f64| match (0.0..=1.0).contains(&rate) {
        true => Ok(rate),
        false => Err(format!("a rate lies between 0 and 1, not {rate}")),
    };
    let mut rates = Vec::new();
    for (name, rate) in &faults.rates {
        let rate = rate.as_f64().ok_or_else(|| format!("the rate of '{name}' is no number"))?;
        rates.push((name.parse::<Fault>()?, chance(rate)?));
    }
    if let Some(rate) = faults.rate {
        misbehaviour.set_mixed(chance(rate)?);
    }
    for (fault, rate) in rates {
        misbehaviour.set(fault, rate);
    }
    if let Some(ms) = faults.slow_ms {
        misbehaviour.set_slow(Duration::from_millis(ms));
    }
    if let Some(seconds) = faults.retry_after {
        misbehaviour.set_retry_after_seconds(seconds);
    }
    Ok(json!({ "rates": misbehaviour.rates() }))
}

fn take_down(request: &Request, misbehaviour: &Misbehaviour) -> Answer {
    let down: Down = parsed(request)?;
    let span = down
        .seconds
        .map(Duration::try_from_secs_f64)
        .transpose()
        .map_err(|error| format!("seconds: {error}"))?;
    misbehaviour.take_down(span, down.how == How::Reset);
    Ok(json!({ "down": true }))
}

fn spread(database: &Database, count: usize) -> Vec<String> {
    let table = database.table(PRODUCT);
    let all = table.rows.len();
    let count = count.min(all);
    (0..count)
        .filter_map(|turn| table.rows[turn * all / count].value(table.entity, 0))
        .map(std::borrow::Cow::into_owned)
        .collect()
}

/// A newer version of a record: another price, and another name for the product.
fn changed(entity: usize, record: &Record) -> Option<Record> {
    let mut record = record.clone();
    let price = column(entity, "ListPrice");
    if let Some(amount) = record[price].as_deref().and_then(|text| text.parse::<f64>().ok())
        && amount > 0.0
    {
        record[price] = Some(format!("{:.4}", amount + 1.0));
    }
    if entity == PRODUCT {
        let name = column(entity, "Name");
        record[name] = record[name].take().map(|name| format!("{name} *"));
    }
    let modified = column(entity, MODIFIED);
    let before = record[modified].as_deref().and_then(milliseconds).unwrap_or(0);
    let after = jiff::Timestamp::from_millisecond(before + 60_000).ok()?;
    record[modified] = Some(after.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string());
    Some(record)
}

impl Service for Control {
    fn answer(&self, request: &Request) -> Reply {
        match self.route(request) {
            Some(Ok(answer)) => Reply::json(StatusCode::OK, &answer),
            Some(Err(problem)) => {
                Reply::json(StatusCode::BAD_REQUEST, &json!({ "error": problem }))
            }
            None => Reply::json(
                StatusCode::NOT_FOUND,
                &json!({ "error": "no such control; they stand in crates/sandbox/README.md" }),
            ),
        }
    }
}
