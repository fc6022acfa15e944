//! Machines in between: what `--px` says, and the way that `via=` leads there.

use super::{HostSpec, SpecError, SshSpec, WorkerSpec};
use std::collections::BTreeMap;

/// Every `--px`, by its `id=`.
#[derive(Debug, Default)]
pub(super) struct Proxies(BTreeMap<String, WorkerSpec>);

impl Proxies {
    /// Reads every `--px`, each of which may lead over others.
    pub(super) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, SpecError> {
        let mut proxies = BTreeMap::new();
        for text in texts {
            let spec = WorkerSpec::parse_one(text)?;
            let usable = matches!(spec.host, HostSpec::Local | HostSpec::Ssh(_));
            match spec.id.clone().filter(|_| usable) {
                Some(id) => proxies.insert(id, spec),
                None => return Err(SpecError::Proxy { spec: text.to_owned() }),
            };
        }
        Ok(Self(proxies))
    }

    /// Where a worker's host is, seen from here.
    pub(super) fn resolve(&self, mut spec: WorkerSpec) -> Result<WorkerSpec, SpecError> {
        let described = spec.to_string();
        let mut next = spec.via.as_ref();
        let mut hops = Vec::new();
        while let Some(id) = next {
            let found = self.0.get(id).filter(|_| hops.len() < self.0.len());
            let proxy = found.ok_or_else(|| SpecError::Via { spec: described.clone(), id: id.clone() })?;
            hops.push(&proxy.host);
            next = proxy.via.as_ref();
        }
        for hop in hops {
            spec.host = beyond(hop, spec.host, &described)?;
        }
        Ok(spec)
    }
}

/// The host as seen from where the hop is reached from.
fn beyond(hop: &HostSpec, host: HostSpec, described: &str) -> Result<HostSpec, SpecError> {
    match (hop, host) {
        (HostSpec::Ssh(hop), HostSpec::Local) => Ok(HostSpec::Ssh(hop.clone())),
        (HostSpec::Ssh(hop), HostSpec::Ssh(host)) => {
            let hop = SshSpec { via: Vec::new(), ..hop.clone() };
            let via = std::iter::once(hop).chain(host.via.clone()).collect();
            Ok(HostSpec::Ssh(SshSpec { via, ..host }))
        }
        (HostSpec::Local, host @ (HostSpec::Local | HostSpec::Ssh(_))) => Ok(host),
        (_, _) => Err(SpecError::ViaKind { spec: described.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(tx: &str, px: &[&str]) -> Result<String, String> {
        let specs = WorkerSpec::parse_all([tx], px.iter().copied()).map_err(|error| error.to_string())?;
        Ok(match &specs[0].host {
            HostSpec::Ssh(ssh) => {
                let hops = ssh.via.iter().chain([ssh]).map(|hop| hop.words.join(" "));
                hops.collect::<Vec<_>>().join(" > ")
            }
            host => format!("{host:?}"),
        })
    }

    #[test]
    fn the_way_leads_over_every_machine_in_between() {
        let px = ["ssh=-p 7 gate//id=g", "ssh=inner//via=g//id=i", "popen//id=here"];
        assert_eq!(resolved("ssh=box//via=g", &px).unwrap(), "-p 7 gate > box");
        assert_eq!(resolved("ssh=box//via=i", &px).unwrap(), "-p 7 gate > inner > box");
        assert_eq!(resolved("popen//via=i", &px).unwrap(), "-p 7 gate > inner");
        assert_eq!(resolved("ssh=box//via=here", &px).unwrap(), "box");
        assert_eq!(resolved("popen//via=here", &px).unwrap(), "Local");
    }

    #[test]
    fn mistakes_are_named() {
        let check = |tx: &str, px: &[&str], expected: &str| {
            let error = resolved(tx, px).unwrap_err();
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        };
        check("ssh=box//via=g", &[], "\"ssh=box//via=g\": no --px has the id \"g\"");
        check("ssh=box//via=a", &["ssh=x//id=a//via=b", "ssh=y//id=b//via=a"], "leads in a circle");
        check("exec=x//via=g", &["ssh=x//id=g"], "\"via\" goes together with popen and ssh=[USER@]HOST only");
        check("popen", &["ssh=x"], "\"ssh=x\": a --px needs an id");
        check("popen", &["exec=x//id=g"], "a --px needs an id");
    }
}
