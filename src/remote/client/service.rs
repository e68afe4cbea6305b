//! The Python service as a worker: one long `POST /audit`, answered when all is done. It has no progress, no
//! cancel and no files of its own: its results are in the bucket, where they are seen as they come.

use super::{ClientError, WorkerClient};
use crate::remote::wire::AuditRequest;
use reqwest::{Method, header};
use serde::Deserialize;
use std::time::Duration;

/// A request of Cloud Run ends after an hour; the service's own may take longer elsewhere.
pub const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// The longest answer.
const MAX_BYTES: u64 = 16 << 20;

/// What is read of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceAnswer {
    /// The run.
    pub run_id: String,
    /// A link to its report.
    #[serde(default)]
    pub report_url: Option<String>,
}

impl WorkerClient {
    /// Asks the Python service for its audit and waits until it is done. It is asked once: the same request
    /// again would be another hour of its GPU. Where the connection is lost, the service may go on, and what
    /// it makes is in the bucket all the same.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn service_audit(
        &self,
        request: &AuditRequest,
    ) -> Result<ServiceAnswer, ClientError> {
        // It knows no other fields.
        let body = serde_json::json!({
            "user_id": request.user_id,
            "session_id": request.session_id,
            "run_id": request.run_id,
        });
        // Nothing comes for most of an hour, which is no sign of anything.
        let patient = Self {
            http: self.patient_http()?,
            ..self.clone()
        };
        let call = patient
            .call(Method::POST, "/audit")
            .await?
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string())
            .timeout(LONGEST);
        let answer = patient.send(call).await?;
        let bytes = patient.bytes(answer, MAX_BYTES).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::NotAWorker {
            worker: self.address.to_string(),
            problem: format!("its answer is not the Python service's: {error}"),
        })
    }

    fn patient_http(&self) -> Result<reqwest::Client, ClientError> {
        crate::storage::gcs::choose_tls();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(self.options.connect)
            .tcp_keepalive(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none());
        if self.address.is_this_machine() {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| ClientError::Offline {
            worker: self.address.to_string(),
            problem: error.to_string(),
        })
    }
}
