//! Which of several images fits a platform.

use std::collections::BTreeSet;

use oci_spec::image::Descriptor;
use rondel_fault::{Fault, Result};
use rondel_model::Platform;

use crate::manifest::normal_platform;

/// The platform that a descriptor names. `None`: it names none. Attestations and the like give
/// `Some(None)`.
pub(crate) fn of(descriptor: &Descriptor) -> Option<Option<Platform>> {
    let attestation = |key: &str| descriptor.annotations().as_ref().is_some_and(|a| a.contains_key(key));
    if attestation("vnd.docker.reference.type") || descriptor.artifact_type().is_some() {
        return Some(None);
    }
    let platform = descriptor.platform().as_ref()?;
    let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
    if os == "unknown" && architecture == "unknown" {
        return Some(None);
    }
    let variant = platform.variant().clone().unwrap_or_default();
    Some(Some(normal_platform(&os, &architecture, &variant)))
}

/// The platforms whose programs run where `wanted` was asked for, best first. The last ones, of a
/// narrower relative of the processor, are accepted only without `exact`.
fn acceptable(wanted: &Platform, exact: bool) -> Vec<Platform> {
    let with = |architecture: &str, variant: &str| Platform::new(&*wanted.os, architecture, variant);
    let arm = ["v8", "v7", "v6", "v5"];
    let mut all = vec![wanted.clone()];
    match (wanted.architecture.as_str(), wanted.variant.as_str()) {
        ("arm", variant) => {
            let lower = arm.iter().skip_while(|v| **v != variant).skip(1);
            all.extend(lower.map(|v| with("arm", v)));
        }
        ("amd64", variant) => {
            let lower = ["v4", "v3", "v2", ""].into_iter().skip_while(|v| *v != variant).skip(1);
            all.extend(lower.map(|v| with("amd64", v)));
            if !exact {
                all.push(with("386", ""));
            }
        }
        ("arm64", variant) => {
            if !variant.is_empty() {
                all.push(with("arm64", ""));
            }
            if !exact {
                all.extend(arm.map(|v| with("arm", v)));
            }
        }
        (architecture, variant) if !variant.is_empty() => all.push(with(architecture, "")),
        _ => {}
    }
    all
}

/// Whether an image of `platform` may serve where `wanted` was asked for.
pub(crate) fn fits(platform: &Platform, wanted: &Platform) -> bool {
    acceptable(wanted, true).contains(platform)
}

/// The one of `candidates` that fits best. Without `exact`, a single candidate is taken whatever it
/// is. `what` names the image in errors.
pub(crate) fn choose<'a, T>(
    candidates: &'a [(Platform, T)],
    wanted: &Platform,
    exact: bool,
    what: &str,
) -> Result<&'a T> {
    for platform in acceptable(wanted, exact) {
        if let Some((_, found)) = candidates.iter().find(|(p, _)| *p == platform) {
            return Ok(found);
        }
    }
    match candidates {
        [(_, only)] if !exact => Ok(only),
        [] => Err(Fault::user(format!("{what} has no image for any platform"))),
        _ => Err(missing(candidates.iter().map(|(p, _)| p), wanted, what)),
    }
}

/// The error for an image that does not exist for the platform.
pub(crate) fn missing<'a>(available: impl Iterator<Item = &'a Platform>, wanted: &Platform, what: &str) -> Fault {
    let available: BTreeSet<String> = available.map(ToString::to_string).collect();
    let available = Vec::from_iter(available).join(", ");
    Fault::not_found(format!("{what} has no image for platform `{wanted}`, only for {available}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(available: &str, wanted: &str, exact: bool, want: &str) {
        let candidates: Vec<(Platform, String)> =
            available.split_whitespace().map(|p| (p.parse().unwrap(), p.to_owned())).collect();
        let got = choose(&candidates, &wanted.parse().unwrap(), exact, "`x`");
        let got = got.cloned().unwrap_or_else(|e| e.to_string());
        assert_eq!(got, want, "{available} for {wanted}");
    }

    #[test]
    fn platforms_are_chosen() {
        check("linux/amd64 linux/arm64", "linux/arm64", false, "linux/arm64");
        check("linux/arm64", "linux/amd64", false, "linux/arm64");
        check("linux/arm64", "linux/amd64", true, "`x` has no image for platform `linux/amd64`, only for linux/arm64");
        check("linux/arm/v5 linux/arm/v6", "linux/arm/v7", true, "linux/arm/v6");
        check(
            "linux/arm/v7 linux/arm64",
            "linux/arm/v6",
            true,
            "`x` has no image for platform `linux/arm/v6`, only for linux/arm/v7, linux/arm64",
        );
        check("linux/amd64 linux/amd64/v2", "linux/amd64/v3", true, "linux/amd64/v2");
        check(
            "linux/amd64/v3 linux/s390x",
            "linux/amd64",
            false,
            "`x` has no image for platform `linux/amd64`, only for linux/amd64/v3, linux/s390x",
        );
        check("linux/arm/v7 linux/s390x", "linux/arm64", false, "linux/arm/v7");
        check("linux/386 linux/s390x", "linux/amd64", false, "linux/386");
        check(
            "windows/amd64",
            "linux/amd64",
            true,
            "`x` has no image for platform `linux/amd64`, only for windows/amd64",
        );
        check("", "linux/amd64", false, "`x` has no image for any platform");
    }
}
