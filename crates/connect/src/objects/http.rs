//! Lets `object_store` send its requests with this room's own client.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient as StoreClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};

use crate::client::HttpClient;
use crate::trouble::{Trouble, TroubleKind};

#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) client: HttpClient,
    pub(super) timeout: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<StoreClient> {
        Ok(StoreClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = match body.as_bytes() {
            Some(bytes) => bytes.clone(),
            None => body.collect().await?.to_bytes(),
        };
        let answer = self
            .client
            .send(parts.method, parts.uri, parts.headers, body, self.timeout)
            .await
            .map_err(|trouble| HttpError::new(kind(&trouble), Failed(trouble.message)))?;
        let body = Full::<Bytes>::new(answer.body).map_err(|never| match never {});
        let mut response = HttpResponse::new(HttpResponseBody::new(body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

fn kind(trouble: &Trouble) -> HttpErrorKind {
    match trouble.kind {
        TroubleKind::Connection => HttpErrorKind::Connect,
        TroubleKind::Timeout => HttpErrorKind::Timeout,
        TroubleKind::TooLarge | TroubleKind::Request | TroubleKind::Token => HttpErrorKind::Unknown,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);
