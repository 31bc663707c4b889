//! `docs/who-may-call.md` as data: what is asked, by whom, under which settings, and the answer.

use std::collections::BTreeSet;
use std::fmt;

use regex::Regex;

/// The credentials that every route is asked with. The page explains them.
pub const CREDENTIALS: [&str; 13] = [
    "nothing",
    "a wrong key",
    "another's key",
    "a revoked key",
    "the right key",
    "the right key as the bearer",
    "the right key, not signed in",
    "the bound bearer",
    "another bearer",
    "a bearer, a user with a key",
    "a bearer, a user with a token",
    "a bearer, a new user",
    "a bearer, no user",
];

/// The credential that only routes of the operator's have to list.
pub const OPERATOR: &str = "the operator's token";

/// The settings that decide who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combination {
    pub auth_mode: &'static str,
    pub upstream_auth: &'static str,
    pub user_binding: &'static str,
}

/// The list of requests, and the table below it.
pub struct Group {
    /// Each a method and a path, and sometimes what is special about it.
    pub requests: Vec<String>,
    columns: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// Settings that a gateway doesn't start with.
pub struct Refused {
    pub settings: Vec<(String, String)>,
    /// The setting that is named.
    pub names: String,
}

/// The whole page.
pub struct Table {
    pub groups: Vec<Group>,
    pub refused: Vec<Refused>,
}

impl Combination {
    /// All that there are.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for auth_mode in ["openai", "codex"] {
            for upstream_auth in ["passthrough", "token"] {
                for user_binding in ["open", "first-key", "key"] {
                    all.push(Self { auth_mode, upstream_auth, user_binding });
                }
            }
        }
        all
    }

    pub fn settings(self) -> [(&'static str, &'static str); 3] {
        let Self { auth_mode, upstream_auth, user_binding } = self;
        [("AUTH_MODE", auth_mode), ("UPSTREAM_AUTH", upstream_auth), ("USER_BINDING", user_binding)]
    }

    /// Whether stored Codex tokens pay.
    pub fn spends_tokens(self) -> bool {
        self.auth_mode == "codex" && self.upstream_auth == "passthrough"
    }

    /// Whether the column of this name is about it.
    fn has(self, column: &str) -> bool {
        // With `token`, AUTH_MODE makes no difference.
        let payer = if self.upstream_auth == "token" { "token" } else { self.auth_mode };
        column == "any" || column.split(' ').all(|word| word == payer || word == self.user_binding)
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { auth_mode, upstream_auth, user_binding } = self;
        write!(formatter, "{auth_mode} {upstream_auth} {user_binding}")
    }
}

impl Group {
    /// The answer that the table has for this; `None` where it is about something else.
    ///
    /// # Panics
    /// Where two columns are about it, or no row.
    pub fn answer(&self, combination: Combination, credential: &str) -> Option<&str> {
        let mut columns = (0..self.columns.len()).filter(|at| combination.has(&self.columns[*at]));
        let column = columns.next()?;
        let is_first =
            |name: &str| name == credential || matches!(name, "anything" | "anything else");
        let row = self.rows.iter().find(|(name, _)| is_first(name));
        assert!(columns.next().is_none(), "{}: two columns for {combination}", self.requests[0]);
        if row.is_none() && credential == OPERATOR {
            return None;
        }
        let (_, cells) =
            row.unwrap_or_else(|| panic!("{}: no row: {credential}", self.requests[0]));
        Some(&cells[column])
    }
}

impl Refused {
    /// Whether a gateway of this combination would not start.
    pub fn is(&self, combination: Combination) -> bool {
        self.settings
            .iter()
            .all(|(name, value)| combination.settings().contains(&(name.as_str(), value.as_str())))
    }
}

impl Table {
    /// Reads the page.
    pub fn read() -> Self {
        let path = gateway_tests::workspace().join("docs/who-may-call.md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut table = Self { groups: Vec::new(), refused: Vec::new() };
        let mut requests = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(request) = line.strip_prefix("- ") {
                requests.push(request.replace('`', ""));
                continue;
            }
            let Some(head) = cells(line) else { continue };
            assert!(lines.next().is_some_and(|line| line.contains("---")), "a table: {line}");
            let mut rows = Vec::new();
            while let Some(row) = lines.peek().and_then(|line| cells(line)) {
                lines.next();
                assert_eq!(row.len(), head.len(), "as many cells as there are columns: {row:?}");
                rows.push(row);
            }
            match head[0].as_str() {
                "the caller shows" if !requests.is_empty() => {
                    let rows = rows.into_iter().map(|row| (row[0].clone(), row[1..].to_vec()));
                    let (rows, columns) = (rows.collect(), head[1..].to_vec());
                    table.groups.push(Group {
                        requests: std::mem::take(&mut requests),
                        columns,
                        rows,
                    });
                }
                "the caller shows" => explains_all(&rows),
                "settings" => table.refused = rows.iter().map(|row| refused(row)).collect(),
                other => panic!("a table of {other}?"),
            }
        }
        table.check();
        table
    }

    /// Each request has one answer for each combination that starts, and each word means something.
    fn check(&self) {
        let mut requests: BTreeSet<&String> = BTreeSet::new();
        for group in &self.groups {
            requests.extend(&group.requests);
            for (name, _) in &group.rows {
                let known = ["anything", "anything else", OPERATOR];
                assert!(
                    CREDENTIALS.contains(&name.as_str()) || known.contains(&name.as_str()),
                    "a row of nobody: {name}"
                );
            }
            for column in &group.columns {
                let is_any = self.combinations().iter().any(|one| one.has(column));
                assert!(is_any, "a column of nothing: {column}");
            }
        }
        for request in requests {
            for combination in self.combinations() {
                let answers = self.groups.iter().filter(|group| group.requests.contains(request));
                let answers = answers.filter_map(|group| group.answer(combination, "nothing"));
                assert_eq!(answers.count(), 1, "answers of {request} for {combination}");
            }
        }
    }

    /// The combinations that a gateway starts with.
    pub fn combinations(&self) -> Vec<Combination> {
        let mut all = Combination::all();
        all.retain(|combination| !self.refused.iter().any(|refused| refused.is(*combination)));
        all
    }
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(|cell| cell.replace('`', "").trim().to_owned()).collect())
}

fn refused(row: &[String]) -> Refused {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').expect("NAME=value");
        (name.to_owned(), value.to_owned())
    };
    Refused { settings: row[0].split(' ').map(pair).collect(), names: row[1].clone() }
}

/// The table at the head of the page tells of every credential, and of no other.
fn explains_all(rows: &[Vec<String>]) {
    let explained: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(explained, CREDENTIALS, "the page explains each credential");
}

/// A row of the route table: methods and the path's pattern.
#[derive(Debug)]
pub struct Route {
    pub methods: Vec<String>,
    pub pattern: String,
}

/// The route tables of both modules, read from their sources.
pub fn routes() -> Vec<Route> {
    let sources = ["mod.rs", "office/mod.rs"].map(|name| {
        let path = gateway_tests::workspace().join("src/routes").join(name);
        std::fs::read_to_string(path).unwrap()
    });
    let tables = [("const GATEWAY", "Handler::"), ("const ROUTES", "Task::")];
    let [gateway, office] = tables.map(|table| routes_of(&sources, table));
    gateway.into_iter().chain(office).collect()
}

fn routes_of(sources: &[String], (table, handler): (&str, &str)) -> Vec<Route> {
    let source = sources.concat();
    let lists = Regex::new(r"const ([A-Z_]+): &\[&str\] = &\[([^\]]*)\];").unwrap();
    let methods = |name: &str| -> Vec<String> {
        let list = lists.captures_iter(&source).find(|found| &found[1] == name);
        let list = list.unwrap_or_else(|| panic!("the methods of {name}"));
        list[2].split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
    };
    let (_, rows) = source.split_once(table).expect("the route table");
    let (rows, _) = rows.split_once("];").expect("its end");
    let row = Regex::new(r#"row\([ \n]*([A-Z_]+),[ \n]*"([^"]+)""#).unwrap();
    let routes: Vec<_> = row
        .captures_iter(rows)
        .map(|row| Route { methods: methods(&row[1]), pattern: row[2].to_owned() })
        .collect();
    // However they are laid out: each names its handler.
    assert_eq!(routes.len(), rows.matches(handler).count(), "every row is read");
    routes
}

impl Route {
    /// Whether a path as the page writes it is of this route.
    fn takes(&self, path: &str) -> bool {
        let (mut wanted, mut given) = (self.pattern.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(rest), Some(first)) if rest.starts_with('*') => return !first.is_empty(),
                (Some(name), Some(value)) if name.starts_with(':') && value.starts_with('{') => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    }
}

/// Asserts that the page is about all routes, and about no others.
pub fn assert_complete(table: &Table) {
    let routes = routes();
    let requests = table.groups.iter().flat_map(|group| &group.requests);
    let asked: BTreeSet<(String, String)> = requests
        .map(|request| {
            let (method, path) = request.split_once(' ').expect("a method and a path");
            let path = path.split([',', '?']).next().unwrap_or_default();
            (method.to_owned(), path.to_owned())
        })
        .collect();
    for (method, path) in &asked {
        let known = routes.iter().any(|route| route.takes(path) && route.methods.contains(method));
        assert!(known, "docs/who-may-call.md lists {method} {path}, and no route takes it");
    }
    for route in &routes {
        let of_this = asked.iter().filter(|(_, path)| route.takes(path));
        let listed: BTreeSet<_> = of_this.map(|(method, _)| method.as_str()).collect();
        // HEAD is GET; and of a path that takes any method some will do.
        let takes_any = route.methods.len() > 4;
        for method in route.methods.iter().filter(|method| *method != "HEAD" && !takes_any) {
            let Route { pattern, .. } = route;
            assert!(
                listed.contains(method.as_str()),
                "{method} {pattern} isn't in docs/who-may-call.md"
            );
        }
        assert!(!listed.is_empty(), "{} isn't in docs/who-may-call.md", route.pattern);
    }
}
