//! Which job of which project, and the names that its executions have.

use super::JobError;
use serde::{Deserialize, Serialize};

/// A job's place in Google Cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPlace {
    /// The project's id or number.
    pub project: String,
    /// A region with L4s, such as `europe-west4`.
    pub region: String,
    /// The job's name.
    pub job: String,
}

impl JobPlace {
    /// Checks the three names: none of them can leave its part of an address.
    ///
    /// # Errors
    /// [`JobError::BadName`] naming the one that cannot be.
    pub fn new(project: &str, region: &str, job: &str) -> Result<Self, JobError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // A domain's project is written `example.com:name`.
        let of_project = |c: char| plain(c) || c == ':' || c == '.';
        check(
            "the project",
            project,
            of_project,
            "a project's id has lower-case letters, digits and hyphens; give --project",
        )?;
        check(
            "the region",
            region,
            plain,
            "a region is written like europe-west4; give --region",
        )?;
        check(
            "the job",
            job,
            plain,
            "a job's name has up to 63 lower-case letters, digits and hyphens; give --job",
        )?;
        Ok(Self {
            project: project.to_owned(),
            region: region.to_owned(),
            job: job.to_owned(),
        })
    }

    /// `projects/P/locations/R/jobs/J`.
    pub fn name(&self) -> String {
        let Self {
            project,
            region,
            job,
        } = self;
        format!("projects/{project}/locations/{region}/jobs/{job}")
    }

    /// The whole name of an execution that is given whole or by its last part. Google answers with the project's
    /// number where it was asked by the id, and the other way round: both are this project's.
    ///
    /// # Errors
    /// [`JobError::BadName`] if it is none of this job.
    pub fn execution(&self, given: &str) -> Result<String, JobError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let prefix = format!("{}/executions/", self.name());
        // All but the project, which the answer to a request for this one cannot leave.
        let inside = format!("/locations/{}/jobs/{}/executions/", self.region, self.job);
        let last = given
            .strip_prefix("projects/")
            .and_then(|rest| rest.split_once(&inside))
            .filter(|(project, _)| !project.contains('/'))
            .map_or(given, |(_, last)| last);
        check(
            "the execution",
            last,
            plain,
            "an execution is named like its job with a few letters behind it",
        )?;
        Ok(format!("{prefix}{last}"))
    }
}

fn check(
    what: &'static str,
    value: &str,
    allowed: impl Fn(char) -> bool,
    rule: &'static str,
) -> Result<(), JobError> {
    if (1..=63).contains(&value.len()) && value.chars().all(allowed) {
        return Ok(());
    }
    Err(JobError::BadName {
        what,
        value: value.chars().take(80).collect(),
        rule,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn names_stay_in_their_part_of_an_address() {
        let place = JobPlace::new("demo-1", "europe-west4", "fill-audit").unwrap();
        assert_eq!(
            place.name(),
            "projects/demo-1/locations/europe-west4/jobs/fill-audit"
        );
        let whole = place.execution("fill-audit-abc12").unwrap();
        assert_eq!(place.execution(&whole).unwrap(), whole);
        // The project's number is the same project.
        let numbered = whole.replace("demo-1", "123456789");
        assert_eq!(place.execution(&numbered).unwrap(), whole);
        let elsewhere = whole.replace("jobs/fill-audit", "jobs/other");
        assert!(place.execution(&elsewhere).is_err());
        for wrong in ["", "a/b", "../x", "A", "a b", "a?b", "x:run"] {
            assert!(JobPlace::new("demo", wrong, "j").is_err(), "{wrong}");
            assert!(JobPlace::new("demo", "r", wrong).is_err(), "{wrong}");
            assert!(place.execution(wrong).is_err(), "{wrong}");
        }
        assert!(JobPlace::new("example.com:demo", "r", "j").is_ok());
    }
}
