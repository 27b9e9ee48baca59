//! Profiles as they wait to be sent.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::{DecodeError, Message as _};

use crate::export::otlp::queue::Item;

/// A request, encoded: as a message it would take several times the memory for as long as no backend takes it.
#[derive(Clone, Debug)]
pub struct Encoded {
    profiles: u64,
    bytes: Bytes,
}

impl Encoded {
    /// The message.
    pub(in crate::export::otlp) fn decode(
        &self,
    ) -> Result<ExportProfilesServiceRequest, DecodeError> {
        ExportProfilesServiceRequest::decode(self.bytes.clone())
    }
}

impl From<ExportProfilesServiceRequest> for Encoded {
    fn from(request: ExportProfilesServiceRequest) -> Self {
        let scopes = request.resource_profiles.iter();
        let scopes = scopes.flat_map(|resource| &resource.scope_profiles);
        Self {
            profiles: scopes.map(|scope| scope.profiles.len() as u64).sum(),
            bytes: request.encode_to_vec().into(),
        }
    }
}

/// Events are profiles, the capacity is in bytes.
impl Item for Encoded {
    fn events(&self) -> u64 {
        self.profiles
    }

    fn weight(&self) -> usize {
        self.bytes.len()
    }
}
