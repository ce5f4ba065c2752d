//! ROUTES.md says of each route by which tests it is tested; here that is held against the document and the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use axum::{body::Body, http::Request};
use serde_json::Value;
use settings::LimitSettings;

use crate::fixture;

/// Tests by route, `GET /topics`.
type Table = BTreeMap<String, Vec<String>>;

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table: ``| `GET /topics` | `a_test`, `another_test` |``.
fn table(markdown: &str) -> Table {
    let rows = markdown.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let tests = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    rows.map(|(route, text)| (route.to_owned(), tests(text))).collect()
}

fn written(table: &Table) -> String {
    let mut markdown = "| method, path | tests |\n| --- | --- |\n".to_owned();
    for (route, tests) in table {
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = writeln!(markdown, "| `{route}` | {} |", tests.join(", "));
    }
    markdown
}

async fn routes() -> BTreeSet<String> {
    let router = fixture::rest(fixture::image(), LimitSettings::default());
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let document = fixture::send(&router, request).await.body;
    let paths = document["paths"].as_object().unwrap().iter();
    let routes = paths.flat_map(|(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    routes.collect()
}

/// The names of all functions of this crate and the one that coordinates consumers, and of the tests with real processes.
fn functions() -> BTreeSet<String> {
    let folders = ["src", "tests", "../group/src", "../../tests/tests"];
    let mut open: Vec<PathBuf> = folders.map(|folder| crate_folder().join(folder)).into();
    let mut names = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let named = source.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
            names.extend(named.map(|(name, _)| name.to_owned()));
        }
    }
    names
}

#[tokio::test]
async fn every_route_is_in_the_table_with_tests_that_exist() {
    let known = table(&fs::read_to_string(crate_folder().join("ROUTES.md")).unwrap());
    let routes = routes().await;
    let functions = functions();
    let exists = |test: &String| functions.contains(test);
    let tests = |route: &String| -> Vec<String> {
        known.get(route).into_iter().flatten().filter(|test| exists(test)).cloned().collect()
    };
    let wanted: Table = routes.iter().map(|route| (route.clone(), tests(route))).collect();
    let untested: Vec<&String> =
        wanted.iter().filter(|(_, tests)| tests.is_empty()).map(|(r, _)| r).collect();
    assert!(
        known == wanted && untested.is_empty(),
        "ROUTES.md should be as follows, with tests for {untested:?}:\n{}",
        written(&wanted)
    );
}

#[test]
fn a_table_comes_back_as_it_was_written() {
    let markdown = "| method, path | tests |\n| --- | --- |\n| `GET /a` | `x`, `y_z` |\n| `PUT /{b}` |  |\n";
    let read = table(markdown);
    assert_eq!(read["GET /a"], ["x", "y_z"]);
    assert_eq!((read["PUT /{b}"].len(), written(&read).as_str()), (0, markdown));
}
