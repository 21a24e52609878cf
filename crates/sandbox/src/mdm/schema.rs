//! The data model: six entities as in AdventureWorks, with the types an MDM would give them.

/// XML Schema types, as far as this model needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `xsd:int`: compared and ordered as a number.
    Int,
    Decimal,
    Boolean,
    DateTime,
    Text,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// A foreign key: shown in brackets, `[14]`.
    pub(crate) foreign: bool,
    /// Decides, with `foreign`, whether a join over the field is inner or left outer.
    pub(crate) mandatory: bool,
    /// Looked up by an index.
    pub(crate) indexed: bool,
}

#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) name: &'static str,
    /// The fields of the primary key, which also orders the rows.
    pub(crate) key: &'static [usize],
    pub(crate) fields: &'static [Field],
}

impl Entity {
    pub(crate) fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

const fn plain(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, foreign: false, mandatory: false, indexed: false }
}

const fn key(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, foreign: false, mandatory: true, indexed: true }
}

const fn foreign(name: &'static str, mandatory: bool) -> Field {
    Field { name, kind: Kind::Int, foreign: true, mandatory, indexed: true }
}

pub(crate) const PRODUCT: usize = 0;
pub(crate) const SUBCATEGORY: usize = 1;
pub(crate) const CATEGORY: usize = 2;
pub(crate) const DESCRIPTION: usize = 3;
pub(crate) const CULTURE: usize = 4;
pub(crate) const PRICE: usize = 5;

pub(crate) const MODIFIED: &str = "ModifiedDate";

pub(crate) static ENTITIES: [Entity; 6] = [
    Entity {
        name: "Product",
        key: &[0],
        fields: &[
            key("ProductID", Kind::Int),
            plain("Name", Kind::Text),
            Field { indexed: true, ..plain("ProductNumber", Kind::Text) },
            plain("MakeFlag", Kind::Boolean),
            plain("FinishedGoodsFlag", Kind::Boolean),
            plain("Color", Kind::Text),
            plain("SafetyStockLevel", Kind::Int),
            plain("ReorderPoint", Kind::Int),
            plain("StandardCost", Kind::Decimal),
            plain("ListPrice", Kind::Decimal),
            plain("Size", Kind::Text),
            plain("SizeUnitMeasureCode", Kind::Text),
            plain("WeightUnitMeasureCode", Kind::Text),
            plain("Weight", Kind::Decimal),
            plain("DaysToManufacture", Kind::Int),
            plain("ProductLine", Kind::Text),
            plain("Class", Kind::Text),
            plain("Style", Kind::Text),
            foreign("ProductSubcategoryID", false),
            // The model is not an entity here, so this is a number and not a foreign key.
            Field { indexed: true, ..plain("ProductModelID", Kind::Int) },
            plain("SellStartDate", Kind::DateTime),
            plain("SellEndDate", Kind::DateTime),
            plain("DiscontinuedDate", Kind::DateTime),
            plain(MODIFIED, Kind::DateTime),
        ],
    },
    Entity {
        name: "ProductSubcategory",
        key: &[0],
        fields: &[
            key("ProductSubcategoryID", Kind::Int),
            foreign("ProductCategoryID", true),
            plain("Name", Kind::Text),
            plain(MODIFIED, Kind::DateTime),
        ],
    },
    Entity {
        name: "ProductCategory",
        key: &[0],
        fields: &[
            key("ProductCategoryID", Kind::Int),
            plain("Name", Kind::Text),
            plain(MODIFIED, Kind::DateTime),
        ],
    },
    Entity {
        name: "ProductDescription",
        key: &[0],
        fields: &[
            key("ProductDescriptionID", Kind::Int),
            plain("Description", Kind::Text),
            plain(MODIFIED, Kind::DateTime),
        ],
    },
    Entity {
        name: "ProductModelProductDescriptionCulture",
        key: &[0, 1, 2],
        fields: &[
            key("ProductModelID", Kind::Int),
            foreign("ProductDescriptionID", true),
            key("CultureID", Kind::Text),
            plain(MODIFIED, Kind::DateTime),
        ],
    },
    Entity {
        name: "ProductListPriceHistory",
        key: &[0, 1],
        fields: &[
            foreign("ProductID", true),
            key("StartDate", Kind::DateTime),
            plain("EndDate", Kind::DateTime),
            plain("ListPrice", Kind::Decimal),
            plain(MODIFIED, Kind::DateTime),
        ],
    },
];

pub(crate) fn entity(name: &str) -> Option<usize> {
    ENTITIES.iter().position(|entity| entity.name == name)
}
