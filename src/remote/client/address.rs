//! Where a worker is: an address of HTTP or HTTPS, without anything that a token could hide in.

use super::ClientError;
use std::fmt;
use std::str::FromStr;

/// A worker's address, such as `http://127.0.0.1:8080` or `https://worker-x.a.run.app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerAddress {
    url: url::Url,
}

impl WorkerAddress {
    /// The address of one of the worker's answers; `path` begins with a slash.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// Whether only this machine can be meant.
    pub fn is_this_machine(&self) -> bool {
        match self.url.host() {
            Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }

    /// Whether it is a service of Cloud Run, which may let in only who shows who they are.
    pub fn is_cloud_run(&self) -> bool {
        let host = self.url.host_str();
        self.url.scheme() == "https" && host.is_some_and(|host| host.ends_with(".run.app"))
    }

    /// Whether what is sent can be read on the way: plain HTTP to another machine.
    pub fn is_readable_on_the_way(&self) -> bool {
        self.url.scheme() == "http" && !self.is_this_machine()
    }
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl FromStr for WorkerAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let text = text.trim();
        let refused = |problem: &str| ClientError::Address {
            problem: problem.to_owned(),
            // What was typed may hold a password.
            address: text.rsplit('@').next().unwrap_or_default().to_owned(),
        };
        if text.is_empty() {
            return Err(refused("the worker's address is empty"));
        }
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = url::Url::parse(&with_scheme)
            .map_err(|error| refused(&format!("the worker's address cannot be read ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(
                "a worker's address begins with http:// or https://",
            ));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("the worker's address names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(
                "a worker's address holds no name or password; give the token in its own field",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("a worker's address ends before any ? or #"));
        }
        Ok(Self { url })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            (" https://worker.a.run.app/ ", "https://worker.a.run.app"),
            ("gpu-box:8080", "http://gpu-box:8080"),
            ("https://host/under/a/path/", "https://host/under/a/path"),
        ] {
            let address: WorkerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
        }
        let joined = "http://[::1]:80/".parse::<WorkerAddress>().unwrap();
        assert_eq!(joined.join("/gpu"), "http://[::1]/gpu");
        assert!(joined.is_this_machine());
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_repeated() {
        for (text, expected) in [
            ("", "empty"),
            ("ftp://host", "begins with http"),
            ("http://", "cannot be read"),
            ("http://joe:secret@host", "no name or password"),
            ("http://host/?token=secret2", "before any ?"),
        ] {
            let error = text.parse::<WorkerAddress>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }

    #[test]
    fn a_token_on_plain_http_can_be_read_on_the_way_elsewhere_only() {
        let readable = |text: &str| {
            let address: WorkerAddress = text.parse().unwrap();
            address.is_readable_on_the_way()
        };
        assert!(readable("http://gpu-box:8080"));
        assert!(!readable("https://gpu-box"));
        assert!(!readable("http://localhost:8080"));
        let cloud_run = |text: &str| text.parse::<WorkerAddress>().unwrap().is_cloud_run();
        assert!(cloud_run("https://worker-1234.europe-west4.run.app"));
        assert!(!cloud_run("https://run.app.example.com"));
        assert!(!cloud_run("http://worker-1234.europe-west4.run.app"));
    }
}
