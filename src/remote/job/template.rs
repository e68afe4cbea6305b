//! The YAML of the job and of the service, and the commands that deploy them: the files of `assets/deploy/`,
//! with what is known put in. What is not known stays as `${NAME}`.

use super::{JobError, JobPlace};

/// The job.
pub const JOB: &str = include_str!("../../../assets/deploy/job.yaml");
/// The service.
pub const SERVICE: &str = include_str!("../../../assets/deploy/service.yaml");
/// The commands, in the order in which they are given.
pub const COMMANDS: &str = include_str!("../../../assets/deploy/deploy.sh");

/// What differs from one project to the next; an empty one stays a `${NAME}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// The project's id.
    pub project: Option<String>,
    /// A region with L4s.
    pub region: Option<String>,
    /// The job's name.
    pub job: Option<String>,
    /// The service's name.
    pub service: Option<String>,
    /// The bucket with sessions and runs, without `gs://`.
    pub bucket: Option<String>,
    /// The bucket with the weights, without `gs://`.
    pub models_bucket: Option<String>,
    /// The image's address.
    pub image: Option<String>,
    /// The service account's address.
    pub account: Option<String>,
}

impl Values {
    /// Checks what goes into YAML and into a shell: plain names and addresses only.
    ///
    /// # Errors
    /// [`JobError::BadName`] naming the one that cannot be.
    pub fn check(&self) -> Result<(), JobError> {
        let name = |value: &Option<String>| value.clone().unwrap_or_else(|| "x".to_owned());
        JobPlace::new(&name(&self.project), &name(&self.region), &name(&self.job))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
        let others = [
            ("the service", &self.service),
            ("the bucket", &self.bucket),
            ("the bucket of weights", &self.models_bucket),
            ("the image", &self.image),
            ("the account", &self.account),
        ];
        for (what, value) in others {
            let value = value.as_deref().unwrap_or("x");
            if value.is_empty() || value.len() > 400 || !value.chars().all(plain) {
                return Err(JobError::BadName {
                    what,
                    value: value.chars().take(80).collect(),
                    rule: "letters, digits and - _ . : / @ only",
                });
            }
        }
        Ok(())
    }

    /// A template with the values that are known.
    pub fn fill(&self, template: &str) -> String {
        let values = [
            ("PROJECT", &self.project),
            ("REGION", &self.region),
            ("JOB", &self.job),
            ("SERVICE", &self.service),
            ("BUCKET", &self.bucket),
            ("MODELS_BUCKET", &self.models_bucket),
            ("IMAGE", &self.image),
            ("ACCOUNT", &self.account),
        ];
        let mut text = template.to_owned();
        for (name, value) in values {
            if let Some(value) = value {
                text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn without_values_the_files_are_printed_as_they_lie_there() {
        for template in [JOB, SERVICE, COMMANDS] {
            assert_eq!(Values::default().fill(template), template);
            assert!(template.contains("${"), "nothing to fill in");
        }
    }

    #[test]
    fn with_all_values_nothing_is_left_open() {
        let some = |text: &str| Some(text.to_owned());
        let values = Values {
            project: some("demo-1"),
            region: some("europe-west4"),
            job: some("fill-audit"),
            service: some("fill-audit-worker"),
            bucket: some("demo-1.firebasestorage.app"),
            models_bucket: some("demo-1-models"),
            image: some("europe-west4-docker.pkg.dev/demo-1/audit/fill-audit:1"),
            account: some("fill-audit@demo-1.iam.gserviceaccount.com"),
        };
        values.check().unwrap();
        for template in [JOB, SERVICE, COMMANDS] {
            let text = values.fill(template);
            assert!(!text.contains("${"), "{text}");
        }
        let wrong = Values {
            image: some("x; rm -rf /"),
            ..values
        };
        assert!(wrong.check().unwrap_err().to_string().contains("the image"));
    }
}
