//! The gateway's RECIPES.md, run word for word.

use std::process::Command;

use tests::Cluster;

const RECIPES: &str = include_str!("../../../crates/gateway/RECIPES.md");
/// Where they have the gateway.
const ADDRESS: &str = "http://127.0.0.1:8082";
/// Stands between what two of them print.
const MARK: &str = "\n-- the next recipe --\n";

struct Recipe<'a> {
    title: &'a str,
    commands: &'a str,
    seen: &'a str,
}

/// The fenced blocks of a text: the language and what stands in it.
fn blocks(markdown: &str) -> Vec<(&str, &str)> {
    let fenced = markdown.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

/// All recipes, in their order. What comes before them says only where the gateway is.
fn recipes(markdown: &str) -> Vec<Recipe<'_>> {
    let mut sections = markdown.split("\n## ");
    let first = blocks(sections.next().unwrap());
    assert_eq!(first, [("sh", format!("REST={ADDRESS}").as_str())]);
    let recipe = |section| match blocks(section)[..] {
        [("sh", commands), (_, seen)] => {
            Recipe { title: section.lines().next().unwrap_or_default(), commands, seen }
        }
        _ => panic!("it has to have commands, and what one sees:\n{section}"),
    };
    sections.map(recipe).collect()
}

/// Whether a text is what is shown, in which `…` stands for anything.
fn is_as_shown(text: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipe_shows_what_one_sees() {
    let cluster = Cluster::small().await;
    let recipes = recipes(RECIPES);
    assert!(recipes.len() >= 10, "{}", recipes.len());
    let rest = cluster.rest(0).url("");
    // One shell for all: a recipe goes on with what those before it have set.
    let script: Vec<String> =
        recipes.iter().map(|recipe| format!("{}\nprintf '%s' \"$MARK\"\n", recipe.commands)).collect();
    let mut bash = Command::new("bash");
    bash.args(["-c", &script.concat()]).envs([("REST", rest.as_str()), ("MARK", MARK), ("no_proxy", "*")]);
    let output = bash.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let printed = String::from_utf8(output.stdout).unwrap().replace(&rest, ADDRESS);
    assert_eq!(printed.matches(MARK).count(), recipes.len(), "{printed}");
    for (recipe, printed) in recipes.iter().zip(printed.split(MARK)) {
        let printed = printed.trim_end();
        let Recipe { title, seen, .. } = recipe;
        assert!(is_as_shown(printed, seen), "{title}: it shows\n{seen}\nand what one sees is\n{printed}");
    }
}

#[test]
fn what_is_left_out_stands_for_anything_and_everything_else_for_itself() {
    for (text, shown) in
        [("", ""), ("ab", "ab"), ("a1b2c", "a…b…c"), ("abc", "…"), ("abb", "a…b"), ("ab", "a…b")]
    {
        assert!(is_as_shown(text, shown), "{text} {shown}");
    }
    for (text, shown) in [("a", ""), ("ab", "a"), ("xab", "a…"), ("abx", "…b"), ("ac", "a…b…c")] {
        assert!(!is_as_shown(text, shown), "{text} {shown}");
    }
}
