//! The projects that a user has used, in the order of their first use.

use serde::{Deserialize, Serialize};

/// As many are listed, at most; who has no limit may use more.
const MOST: usize = 100;

/// The projects; stored as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Projects(Vec<String>);

impl Projects {
    /// In the order of their first use.
    #[must_use]
    pub fn list(&self) -> &[String] {
        &self.0
    }

    /// Those that may be used where so many are allowed: the first.
    #[must_use]
    pub fn first(&self, limit: usize) -> &[String] {
        self.0.get(..limit).unwrap_or(&self.0)
    }

    /// Whether a project may be used where so many are allowed: it is among the first, or there is
    /// room for another.
    #[must_use]
    pub fn allows(&self, project: &str, limit: Option<usize>) -> bool {
        let Some(limit) = limit else { return true };
        self.0.len() < limit || self.first(limit).iter().any(|known| known == project)
    }

    /// Notes that a project is used. `true` where it is new, and listed.
    pub fn note(&mut self, project: &str) -> bool {
        let is_new = self.0.len() < MOST && !self.0.iter().any(|known| known == project);
        if is_new {
            self.0.push(project.to_owned());
        }
        is_new
    }

    /// Takes one off the list. `false` where it isn't there.
    pub fn remove(&mut self, project: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known != project);
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_may_be_used() {
        let mut projects = Projects::default();
        assert!(projects.allows("a", Some(1)));
        assert!(projects.note("a") && !projects.note("a") && projects.note("b"));
        for (project, limit, allowed) in [
            ("a", Some(1), true),
            ("b", Some(1), false),
            ("b", Some(2), true),
            ("c", Some(2), false),
            ("c", Some(3), true),
            ("c", None, true),
        ] {
            assert_eq!(projects.allows(project, limit), allowed, "{project} of {limit:?}");
        }
        assert_eq!(
            (projects.first(1), projects.first(9)),
            (&["a".to_owned()][..], projects.list())
        );
        assert!(projects.remove("a") && !projects.remove("a"));
        assert!(projects.allows("b", Some(1)), "the next moves up");
        assert!(!projects.allows("a", Some(1)), "and its place is taken");
    }

    #[test]
    fn a_hundred_are_listed() {
        let mut projects = Projects::default();
        let listed = (0..150).filter(|number| projects.note(&format!("p{number}"))).count();
        assert_eq!((listed, projects.list().len()), (MOST, MOST));
        assert!(projects.allows("p149", None));
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let mut projects = Projects::default();
        projects.note("default");
        assert_eq!(serde_json::to_string(&projects).unwrap(), r#"["default"]"#);
        assert_eq!(serde_json::from_str::<Projects>(r#"["default"]"#).unwrap(), projects);
    }
}
