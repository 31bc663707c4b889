//! The gateway's URL as people write it, mended.

use url::Url;

use crate::failure::{Failure, Kind};

/// Where a gateway is: scheme, host and port, and no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    url: Url,
    /// What was written and isn't meant, such as a `/v1` at the end.
    pub mended: Option<String>,
}

impl BaseUrl {
    /// Reads a URL. A path that leads to the gateway's own pages is cut off, a missing scheme added.
    ///
    /// # Errors
    /// Where it is none, or leads to something below the host that no gateway has.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim().trim_matches(['"', '\'']);
        let mut mended = None;
        let written = if text.contains("://") {
            text.to_owned()
        } else {
            let scheme = if is_loopback_text(text) { "http" } else { "https" };
            mended = Some(format!("{scheme}:// was added in front"));
            format!("{scheme}://{text}")
        };
        let wrong = |why: &str| {
            Failure::new(Kind::Usage, format!("This isn't the URL of a gateway: {why}."))
                .next("It looks like https://gateway.example.com, with nothing behind the host.")
        };
        let mut url = Url::parse(&written).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it has to begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("a name or a password doesn't belong into it"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if !path.is_empty() {
            if !is_of_a_gateway(&path) {
                return Err(wrong(&format!("there is a path in it, {path}")));
            }
            mended = Some(format!("{path} at its end was cut off"));
        }
        url.set_path("");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url, mended })
    }

    /// The address of something at the gateway.
    pub fn at(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Scheme, host and port, without a slash at the end.
    pub fn text(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Whether nobody on the way can read along.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether it is on this very machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback_text(self.host())
    }
}

/// Paths that people copy along.
fn is_of_a_gateway(path: &str) -> bool {
    let is_a_users = path.strip_prefix("/u/").is_some_and(|rest| rest.split('/').count() <= 2);
    let known = ["/v1", "/operator", "/health", "/ready", "/me"];
    is_a_users
        || known.contains(&path)
        || path.starts_with("/operator/")
        || path.starts_with("/v1/")
}

fn is_loopback_text(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    if matches!(host, "::1" | "[::1]") || host.starts_with("[::1]:") {
        return true;
    }
    let host = host.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_mended() {
        for (written, text, is_mended) in [
            ("https://gw.example.com", "https://gw.example.com", false),
            ("https://gw.example.com/", "https://gw.example.com", false),
            (" 'https://gw.example.com/v1/' ", "https://gw.example.com", true),
            ("https://gw.example.com/u/ada/v1", "https://gw.example.com", true),
            ("https://gw.example.com/operator/api/users?x=1", "https://gw.example.com", true),
            ("gw.example.com", "https://gw.example.com", true),
            ("127.0.0.1:8787", "http://127.0.0.1:8787", true),
            ("localhost:8787/v1", "http://localhost:8787", true),
            ("http://[::1]:8787", "http://[::1]:8787", false),
        ] {
            let url = BaseUrl::parse(written).unwrap();
            assert_eq!((url.text().as_str(), url.mended.is_some()), (text, is_mended), "{written}");
        }
        for wrong in ["", "ftp://x", "https://a b", "https://me:pw@gw.example.com", "https://x/y"] {
            assert_eq!(BaseUrl::parse(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
    }

    #[test]
    fn names_stay_within_their_segment() {
        let base = BaseUrl::parse("http://127.0.0.1:1").unwrap();
        let url = base.at(&["operator", "api", "users", "../x y"], &[("query", "a&b=c")]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:1/operator/api/users/..%2Fx%20y?query=a%26b%3Dc"
        );
        assert!(base.is_loopback() && !BaseUrl::parse("http://10.0.0.1").unwrap().is_loopback());
    }
}
