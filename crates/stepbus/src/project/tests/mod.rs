//! Wrong files and what is said about them, one table a room of the file.

mod documented;
mod endpoints;
mod general;
mod inputs;
mod schedules;
mod schema;
mod subscriptions;
mod systems;
mod workflows;

use expect_test::Expect;

use super::{Problem, Project, Vars, load, report};

/// A folder with a project and the files it names.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new(project: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.file("stepbus.yaml", project)
    }

    pub(super) fn file(self, path: &str, text: &str) -> Folder {
        let full = self.0.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, text).unwrap();
        self
    }

    pub(super) fn load(&self) -> Result<Project, Vec<Problem>> {
        let vars = Vars::none()
            .with("URL", "https://crm.example")
            .with("USER", "stepbus")
            .with("PASSWORD", "pa$$word")
            .with("FIVE", "5")
            .with("WORD", "nonsense")
            .with("EMPTY", "")
            .with("QUOTED", "a'b");
        load(self.0.path(), &vars)
    }

    #[track_caller]
    pub(super) fn good(&self) -> Project {
        self.load().unwrap_or_else(|problems| panic!("{}", report::render(&problems)))
    }

    /// What is said, with paths from the folder.
    pub(super) fn rendered(&self) -> String {
        let rendered = match self.load() {
            Ok(project) => report::render(&project.warnings),
            Err(problems) => report::render(&problems),
        };
        rendered.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// Sections that a wrong one may refer to.
pub(super) const REST: &str = r#"
connections: { crm: {} }
buckets: { files: { path: data } }
buses: { catalog: }
destinations: { crm: { url: "${URL}/products/{sku}" } }
workflows: { sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
"#;

/// Checks what is said about a section beside which nothing is wrong.
#[track_caller]
pub(super) fn check(section: &str, expected: Expect) {
    let name = section.split(':').next().unwrap_or_default();
    let rest: Vec<&str> =
        REST.lines().filter(|line| !line.starts_with(&format!("{name}:"))).collect();
    let project = format!("{}\nname: test\n{}\n", section.trim(), rest.join("\n"));
    expected.assert_eq(&Folder::new(&project).rendered());
}
