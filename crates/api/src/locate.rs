//! Maps a path of a container to a tree: its root or a mount.

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Container, Fs, Mount, MountSource};

/// The tree that holds a path of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The root.
    Rootfs,
    /// The mount at this position.
    Mount(usize),
}

/// The tree that holds `path`, and the path there. The newest mount counts.
///
/// # Errors
/// When the path is in a mount without a tree: a cache volume or tmpfs. Secrets and sockets exist
/// for processes only: a path in one of these names a file that it covers.
pub(crate) fn locate(container: &Container, path: &AbsPath) -> Result<(Holder, TreePath)> {
    let last = container.mounts.len();
    let newest = container.mounts.newest_first().enumerate().map(|(back, mount)| (last - 1 - back, mount));
    let mut covering = newest.filter(|(_, mount)| !is_outside_files(&mount.source));
    match covering.find_map(|(at, mount)| Some((at, mount, path.strip_prefix(&mount.target)?))) {
        Some((at, mount, rest)) => Ok((Holder::Mount(at), inside(mount, rest, path)?)),
        None => Ok((Holder::Rootfs, TreePath { fs: container.rootfs.clone(), path: path.clone() })),
    }
}

/// The location of `rest` below the target of `mount`. Errors name the whole `path`.
fn inside(mount: &Mount, rest: &str, path: &AbsPath) -> Result<TreePath> {
    // Clients match on these texts; see behaviour CFS-010.
    let why = match &mount.source {
        MountSource::Directory { fs, path, .. } | MountSource::Bind { fs, path, .. } => {
            return Ok(TreePath { fs: fs.clone(), path: path.join(rest) });
        }
        MountSource::File { fs, path, .. } if rest.is_empty() => {
            return Ok(TreePath { fs: fs.clone(), path: path.clone() });
        }
        MountSource::File { .. } => "not a directory",
        MountSource::Cache { .. } => "cannot retrieve path from cache",
        MountSource::Temp { .. } => "cannot retrieve path from tmpfs",
        MountSource::Secret { .. } | MountSource::Socket { .. } => "no such file or directory",
    };
    Err(Fault::user(format!("{path}: {why}")))
}

/// Changes the tree that holds `path`. `change` receives the tree and the path in it.
///
/// # Errors
/// As for [`locate`].
pub(crate) fn edit_at(
    container: &Container,
    path: &AbsPath,
    change: impl FnOnce(Fs, AbsPath) -> Fs,
) -> Result<Container> {
    let (holder, place) = locate(container, path)?;
    let changed = change(place.fs, place.path);
    let mut container = touched(container);
    match holder {
        Holder::Rootfs => container.rootfs = changed,
        Holder::Mount(at) => {
            let Some(mut mount) = container.mounts.get(at).cloned() else { return Ok(container) };
            if let MountSource::Directory { fs, .. } | MountSource::File { fs, .. } = &mut mount.source {
                *fs = changed;
                container.mounts.replace(at, mount);
            }
        }
    }
    Ok(container)
}

/// A copy without the reference of its image, because it is about to differ from that.
pub(crate) fn touched(container: &Container) -> Container {
    Container { image_ref: None, ..container.clone() }
}

/// Whether `source` exists for processes only and is no file of the container.
fn is_outside_files(source: &MountSource) -> bool {
    matches!(source, MountSource::Secret { .. } | MountSource::Socket { .. })
}

/// Mounts `source` at `target`. Mounts of files at or below the target are removed. Secrets and
/// sockets are always mounted last, so that they cover files and nothing covers them.
pub(crate) fn mount(container: &Container, target: AbsPath, source: MountSource) -> Container {
    let mut container = touched(container);
    let mounts = &mut container.mounts;
    if is_outside_files(&source) {
        mounts.retain(|mount| mount.target != target || !is_outside_files(&mount.source));
        mounts.push(Mount { target, source });
        return container;
    }
    mounts.retain(|mount| is_outside_files(&mount.source) || mount.target.strip_prefix(&target).is_none());
    mounts.push_before(Mount { target, source }, |mount| is_outside_files(&mount.source));
    container
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;
    use rondel_model::{Platform, SecretRef, Snapshot};

    use super::*;

    fn dir(path: &str) -> MountSource {
        let fs = Fs::known(Snapshot::empty());
        MountSource::Directory { fs, path: AbsPath::new(path), read_only: false, owner: None }
    }

    fn with(mounts: &[(&str, MountSource)]) -> Container {
        let start = Container::scratch(Platform::native());
        mounts.iter().fold(start, |c, (target, source)| mount(&c, AbsPath::new(target), source.clone()))
    }

    fn check(container: &Container, path: &str, want: Result<(Holder, &str), &str>) {
        let got = locate(container, &AbsPath::new(path));
        let got = got.map(|(holder, place)| (holder, place.path.to_string())).map_err(|fault| fault.to_string());
        assert_eq!(got, want.map(|(h, p)| (h, p.to_owned())).map_err(ToOwned::to_owned), "{path}");
    }

    #[test]
    fn paths_map_into_mounts() {
        let file = MountSource::File { fs: Fs::scratch(), path: AbsPath::new("/some/f"), owner: None };
        let cache = MountSource::Cache {
            volume: "v".into(),
            source: None,
            sharing: rondel_model::exec::Sharing::Shared,
            owner: None,
            read_only: false,
        };
        let container = with(&[
            ("/mnt", dir("/sub")),
            ("/mnt/inner", dir("/")),
            ("/f", file),
            ("/cache", cache),
            ("/tmp", MountSource::Temp { size: None }),
        ]);
        check(&container, "/etc/x", Ok((Holder::Rootfs, "/etc/x")));
        check(&container, "/mnt", Ok((Holder::Mount(0), "/sub")));
        check(&container, "/mnt/a/b", Ok((Holder::Mount(0), "/sub/a/b")));
        check(&container, "/mnt/inner/b", Ok((Holder::Mount(1), "/b")));
        check(&container, "/mntx", Ok((Holder::Rootfs, "/mntx")));
        check(&container, "/f", Ok((Holder::Mount(2), "/some/f")));
        check(&container, "/f/x", Err("/f/x: not a directory"));
        check(&container, "/cache/x", Err("/cache/x: cannot retrieve path from cache"));
        check(&container, "/tmp", Err("/tmp: cannot retrieve path from tmpfs"));
    }

    #[test]
    fn secrets_cover_files_and_hold_none() {
        let secret = || MountSource::Secret {
            secret: SecretRef {
                key: Digest::of_bytes(b"x"),
                name: "s".into(),
                uri: "".into(),
                from_nested_client: false,
            },
            owner: None,
            mode: 0o400,
        };
        let file = || MountSource::File { fs: Fs::scratch(), path: AbsPath::new("/some/f"), owner: None };
        let kinds = |c: &Container| c.mounts.iter().map(|m| is_outside_files(&m.source)).collect::<Vec<_>>();
        check(&with(&[("/s", secret())]), "/s", Ok((Holder::Rootfs, "/s")));
        for order in [[("/s", secret()), ("/s", file())], [("/s", file()), ("/s", secret())]] {
            let container = with(&order);
            assert_eq!(kinds(&container), [false, true]);
            check(&container, "/s", Ok((Holder::Mount(0), "/some/f")));
        }
        assert_eq!(kinds(&with(&[("/d/s", secret()), ("/d", dir("/"))])), [false, true]);
        assert_eq!(kinds(&with(&[("/s", secret()), ("/s", secret())])), [true]);
    }

    #[test]
    fn a_mount_replaces_what_it_covers() {
        let targets = |c: &Container| c.mounts.iter().map(|m| m.target.to_string()).collect::<Vec<_>>();
        let container = with(&[("/a/b", dir("/1")), ("/c", dir("/2")), ("/a", dir("/3"))]);
        assert_eq!(targets(&container), ["/c", "/a"]);
        let container = with(&[("/a", dir("/1")), ("/a/b", dir("/2")), ("/a/b", dir("/3"))]);
        assert_eq!(targets(&container), ["/a", "/a/b"]);
    }
}
