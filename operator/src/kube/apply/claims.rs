//! The claims: proofs, deletions, owners and growth carried out.
//!
//! A claim is deleted here and nowhere else.

use chord_types::Ordinal;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::crd::Quantity;
use crate::crd::status::ConditionNow;
use crate::kube::api::Error;
use crate::kube::api::writer::Writer;
use crate::kube::build::claims::Step;
use crate::kube::failure::Kind;
use crate::kube::names::{Names, PROVEN_EMPTY, is_labelled};
use crate::kube::observe::objects::Seen;
use chord_api::causes;

/// The first of the ordinals whose claim is there and somebody else's: a pod would
/// mount it. What carries our labels is seen by the watch; the rest has to be asked
/// for.
pub async fn foreign(
    writer: &Writer<'_>,
    names: &Names,
    seen: &Seen,
    ordinals: std::ops::Range<u32>,
) -> Result<Option<Ordinal>, Error> {
    for ordinal in ordinals.map(Ordinal) {
        if seen.claims.contains_key(&ordinal) {
            continue;
        }
        let claim: Option<PersistentVolumeClaim> = writer.read(&names.claim(ordinal)).await?;
        if claim.is_some_and(|claim| !is_labelled(&claim.metadata, &names.cluster)) {
            return Ok(Some(ordinal));
        }
    }
    Ok(None)
}

/// Carries the steps out.
pub async fn carry_out(
    writer: &Writer<'_>,
    names: &Names,
    seen: &Seen,
    steps: &[(Ordinal, Step)],
) -> Result<(), Error> {
    for (ordinal, step) in steps {
        let Some(claim) = seen.claims.get(ordinal) else {
            continue;
        };
        match step {
            Step::Mark(proof) => annotate(writer, claim, Some(proof)).await?,
            Step::Unmark => annotate(writer, claim, None).await?,
            Step::Delete => {
                // The watch may lag; the API server knows whether the pod is gone.
                if writer.read::<Pod>(&names.pod(*ordinal)).await?.is_none() {
                    let params = DeleteParams::default();
                    writer.delete(claim.as_ref(), params).await?;
                }
            }
        }
    }
    Ok(())
}

/// Writes the proof on a claim, or takes it off; as it was seen and no other.
async fn annotate(
    writer: &Writer<'_>,
    claim: &PersistentVolumeClaim,
    proof: Option<&str>,
) -> Result<(), Error> {
    let patch = json!({"metadata": {
        "uid": claim.uid(),
        "resourceVersion": claim.resource_version(),
        "annotations": {PROVEN_EMPTY: proof},
    }});
    let name = claim.name_any();
    writer.merge::<PersistentVolumeClaim>(&name, &patch).await
}

/// Gives claims the owner references that they shall have.
pub async fn set_owner_references(
    writer: &Writer<'_>,
    seen: &Seen,
    changes: &[(Ordinal, Vec<OwnerReference>)],
) -> Result<(), Error> {
    for (ordinal, references) in changes {
        let Some(claim) = seen.claims.get(ordinal) else {
            continue;
        };
        let patch = json!({"metadata": {
            "uid": claim.uid(),
            "resourceVersion": claim.resource_version(),
            "ownerReferences": references,
        }});
        let name = claim.name_any();
        writer.merge::<PersistentVolumeClaim>(&name, &patch).await?;
    }
    Ok(())
}

/// Lets claims grow; what stands in the way becomes a condition.
pub async fn grow(
    writer: &Writer<'_>,
    seen: &Seen,
    small: &[Ordinal],
    size: &Quantity,
) -> Result<Option<ConditionNow>, Error> {
    for ordinal in small {
        let Some(claim) = seen.claims.get(ordinal) else {
            continue;
        };
        let patch = json!({
            "metadata": {"uid": claim.uid(), "resourceVersion": claim.resource_version()},
            "spec": {"resources": {"requests": {"storage": size.0}}},
        });
        let name = claim.name_any();
        match writer.merge::<PersistentVolumeClaim>(&name, &patch).await {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), Kind::Rejected(403 | 422)) => {
                let why = causes::words(&e);
                return Ok(Some(ConditionNow {
                    kind: "StorageHealthy".into(),
                    status: false,
                    reason: "CannotGrow".into(),
                    message: format!(
                        "storage.size is {}, but the claims stay as they are: {why}; use a storage class that allows volume expansion, or more nodes",
                        size.0
                    ),
                }));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}
