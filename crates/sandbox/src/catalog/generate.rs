//! A catalogue from a seed, with the variety and the oddities of a real one.

use super::{Catalog, column};
use crate::mdm::schema::{CATEGORY, CULTURE, DESCRIPTION, ENTITIES, PRICE, PRODUCT, SUBCATEGORY};
use crate::mdm::table::Record;
use crate::random::Random;

const CATEGORIES: [(&str, &[&str]); 6] = [
    ("Bikes", &["Mountain Bikes", "Road Bikes", "Touring Bikes", "Cargo Bikes", "Vélos pliants"]),
    ("Components", &["Handlebars", "Brakes", "Chains", "Cranksets", "Forks", "Sättel", "Wheels"]),
    ("Clothing", &["Bib-Shorts", "Caps", "Gloves", "Jerseys", "Socks", "Women's \"Tights\""]),
    ("Accessories", &["Bottles & Cages", "Helmets", "Lights", "Locks", "Tires and Tubes"]),
    ("Électronique", &["Compteurs", "Capteurs", "Batteries < 500 Wh"]),
    ("Tools", &["Pumps", "Multi-Tools", "Werkstattständer"]),
];

const LINES: [&str; 12] = [
    "Trail",
    "Summit",
    "Fjäll",
    "Señda",
    "Café Racer",
    "Ōkami",
    "Überland",
    "Metro",
    "Nordkapp",
    "Żubr",
    "Côte d'Azur",
    "Sierra",
];

const COLORS: [&str; 8] =
    ["Black", "Silver", "Red", "Yellow", "Blue", "Silver/Black", "Grün", "Bleu pétrole"];

/// Language, what comes before the product line's name, what comes after.
const TEXTS: [(&str, &str, &str); 7] = [
    ("en", "Made for \"", "\": light, stiff & built to last.\nAluminium <6061>."),
    ("fr", "Conçu pour « ", " » : léger, rigide et durable."),
    ("de", "Für ", ": leicht, steif und für die Ewigkeit gebaut."),
    ("ar", "مصمم من أجل ", " خفيف ومتين."),
    ("he", "נועד עבור ", " קל ועמיד."),
    ("th", "ออกแบบมาเพื่อ ", " เบาและทนทาน"),
    ("zh-cht", "專為 ", " 設計,輕巧耐用 🚲。"),
];

const DAY_MS: i64 = 86_400_000;
/// 2022-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_640_995_200_000;

/// `products` products, the same for the same seed.
pub(crate) fn generate(seed: u64, products: usize) -> Catalog {
    let mut catalog = Catalog::empty();
    let subcategories = categories(&mut catalog);
    let models = (products / 8).max(1);
    descriptions(&mut catalog, seed, models);
    for index in 0..products {
        product(&mut catalog, seed, index, subcategories, models);
    }
    catalog
}

fn record(entity: usize, values: &[(&str, Option<String>)]) -> Record {
    let mut record = vec![None; ENTITIES[entity].fields.len()];
    for (name, value) in values {
        record[column(entity, name)].clone_from(value);
    }
    record
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// A moment `days` after the beginning, as the database writes it.
fn moment(days: i64, millis: i64) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(EPOCH_MS + days * DAY_MS + millis).ok()?;
    Some(at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

fn money(cents: usize) -> Option<String> {
    Some(format!("{}.{:02}00", cents / 100, cents % 100))
}

/// Gives the number of subcategories.
fn categories(catalog: &mut Catalog) -> usize {
    let mut count = 0;
    for (category, (name, subcategories)) in CATEGORIES.iter().enumerate() {
        let category = category + 1;
        catalog.records[CATEGORY].push(record(
            CATEGORY,
            &[
                ("ProductCategoryID", some(category)),
                ("Name", some(name)),
                ("ModifiedDate", moment(0, 0)),
            ],
        ));
        for name in *subcategories {
            count += 1;
            catalog.records[SUBCATEGORY].push(record(
                SUBCATEGORY,
                &[
                    ("ProductSubcategoryID", some(count)),
                    ("ProductCategoryID", some(category)),
                    ("Name", some(name)),
                    ("ModifiedDate", moment(0, 0)),
                ],
            ));
        }
    }
    count
}

/// Every fortieth model has no description, every fifth only two languages.
fn descriptions(catalog: &mut Catalog, seed: u64, models: usize) {
    let mut id = 0;
    for model in 1..=models {
        let mut random = Random::new(seed, 1 << 40 | model as u64);
        let languages = match model {
            model if model % 40 == 0 => 0,
            model if model % 5 == 0 => 2,
            _ => TEXTS.len() - random.below(2),
        };
        let line = random.pick(&LINES);
        for (language, before, after) in &TEXTS[..languages] {
            id += 1 + random.below(2);
            catalog.records[DESCRIPTION].push(record(
                DESCRIPTION,
                &[
                    ("ProductDescriptionID", some(id)),
                    ("Description", Some(format!("{before}{line} {model}{after}"))),
                    ("ModifiedDate", moment(1, 0)),
                ],
            ));
            catalog.records[CULTURE].push(record(
                CULTURE,
                &[
                    ("ProductModelID", some(model)),
                    ("ProductDescriptionID", some(id)),
                    ("CultureID", some(format_args!("{language:<6}"))),
                    ("ModifiedDate", moment(1, 0)),
                ],
            ));
        }
    }
}

fn product(catalog: &mut Catalog, seed: u64, index: usize, subcategories: usize, models: usize) {
    let mut random = Random::new(seed, index as u64);
    // With gaps, and of differing length, so that texts sort otherwise than numbers.
    let id = index + index / 7 + 1;
    let finished = !random.one_in(4);
    let cents = if finished { 199 + random.below(400_000) } else { 0 };
    let color = (!random.one_in(3)).then(|| (*random.pick(&COLORS)).to_owned());
    let size = random.one_in(2).then(|| some(38 + 2 * random.below(12))).flatten();
    let weight = random.one_in(2).then(|| format!("{}.{:02}", random.below(40), random.below(100)));
    let line = random.pick(&LINES);
    let name = match (&color, &size) {
        (Some(color), Some(size)) => format!("{line}-{id} {color}, {size}"),
        (Some(color), None) => format!("{line}-{id} {color}"),
        _ => format!("{line}-{id}"),
    };
    let weight_unit = *random.pick(&["LB ", "G  "]);
    let ended = finished && random.one_in(6);
    let values = [
        ("ProductID", some(id)),
        ("Name", Some(name)),
        ("ProductNumber", Some(number(&mut random, index))),
        ("MakeFlag", some(random.below(2))),
        ("FinishedGoodsFlag", some(u8::from(finished))),
        ("Color", color),
        ("SafetyStockLevel", some(4 + random.below(1_000))),
        ("ReorderPoint", some(3 + random.below(750))),
        ("StandardCost", money(cents * 6 / 10)),
        ("ListPrice", money(cents)),
        ("SizeUnitMeasureCode", size.as_ref().and_then(|_| some("CM "))),
        ("Size", size),
        ("WeightUnitMeasureCode", weight.as_ref().and_then(|_| some(weight_unit))),
        ("Weight", weight),
        ("DaysToManufacture", some(random.below(5))),
        (
            "ProductLine",
            (!random.one_in(3)).then(|| (*random.pick(&["R ", "M ", "T ", "S "])).to_owned()),
        ),
        ("Class", (!random.one_in(3)).then(|| (*random.pick(&["L ", "M ", "H "])).to_owned())),
        ("Style", random.one_in(2).then(|| (*random.pick(&["U ", "W ", "M "])).to_owned())),
        (
            "ProductSubcategoryID",
            if finished && !random.one_in(20) {
                some(1 + random.below(subcategories))
            } else {
                None
            },
        ),
        (
            "ProductModelID",
            if finished && !random.one_in(12) { some(1 + random.below(models)) } else { None },
        ),
        ("SellStartDate", moment(random.below(400) as i64, 0)),
        ("SellEndDate", if ended { moment(800 + random.below(100) as i64, 0) } else { None }),
        ("ModifiedDate", moment(1_000 + random.below(300) as i64, random.below(86_400_000) as i64)),
    ];
    catalog.records[PRODUCT].push(record(PRODUCT, &values));
    if finished {
        prices(catalog, &mut random, id, cents);
    }
}

/// Unique by the index. Some carry what an address or a query must escape.
fn number(random: &mut Random, index: usize) -> String {
    let prefix = random.pick(&["BK", "FR", "HL", "SO", "TI", "LJ", "GL"]);
    let class = random.pick(&["R", "M", "T", "U"]);
    match index {
        index if index % 97 == 13 => format!("{prefix}/{class}{index:05}"),
        index if index % 97 == 29 => format!("{prefix} {class}{index:05}"),
        index if index % 97 == 41 => format!("{prefix}-{class}{index:05}&É"),
        index if index % 97 == 59 => format!("{prefix}+{class}{index:05}%20#1"),
        _ => format!("{prefix}-{class}{index:05}"),
    }
}

/// Up to three rows, of which ended ones are earlier; or all ended; or none at all.
fn prices(catalog: &mut Catalog, random: &mut Random, id: usize, cents: usize) {
    let (rows, open) = match random.below(20) {
        0 => return,
        1..=2 => (1 + random.below(2), false),
        3..=7 => (2 + random.below(2), true),
        _ => (1, true),
    };
    for row in 0..rows {
        let start = 100 * row as i64;
        let last = row + 1 == rows;
        // The row that counts differs from the product's own price now and then.
        let cents = if last && open && !random.one_in(10) { cents } else { cents + 50 * (row + 1) };
        let end = if last && open { None } else { moment(start + 99, 0) };
        catalog.records[PRICE].push(record(
            PRICE,
            &[
                ("ProductID", some(id)),
                ("StartDate", moment(start, 0)),
                ("EndDate", end),
                ("ListPrice", money(cents)),
                ("ModifiedDate", moment(start, 0)),
            ],
        ));
    }
}
