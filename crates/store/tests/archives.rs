//! Archives as they come from outside: sound, odd and hostile ones. The `tar` crate writes them, our reader reads them.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use rondel_fault::Kind;
use rondel_model::Snapshot;
use rondel_ports::snapshots::{Compression, LayerBlob, LayerBlobs, Snapshots};
use rondel_store::{Limits, Options};
use support::{at, blob, fixture, fixture_with, leftovers, show};
use tar::{Builder, EntryType, Header};

#[derive(Clone, Copy)]
enum E<'a> {
    File(&'a str, &'a str),
    Dir(&'a str),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Dev(&'a str, u32, u32),
    Kind(&'a str, u8),
}

fn archive(entries: &[E<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(1000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        let (name, link, data) = match *entry {
            E::File(name, data) => (name, "", data),
            E::Dir(name) => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                (name, "", "")
            }
            E::Link(name, link) => {
                header.set_entry_type(EntryType::Symlink);
                (name, link, "")
            }
            E::Hard(name, link) => {
                header.set_entry_type(EntryType::Link);
                (name, link, "")
            }
            E::Dev(name, major, minor) => {
                header.set_entry_type(EntryType::Char);
                header.set_device_major(major).unwrap();
                header.set_device_minor(minor).unwrap();
                (name, "", "")
            }
            E::Kind(name, byte) => {
                header.set_entry_type(EntryType::new(byte));
                (name, "", "")
            }
        };
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(entries: &[E<'_>]) -> Result<Vec<String>, String> {
    let f = fixture();
    let outside = f.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let (path, expected) = blob(f.dir.path(), &archive(entries), Compression::None);
    let result = f.store.unpack(&path, Compression::None, &expected);
    assert_eq!(leftovers(&f.store), 0);
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    match result {
        Ok(layer) => {
            let names = show(&f.store, &Snapshot::empty().with(layer));
            Ok(names.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect())
        }
        Err(fault) => {
            assert_eq!(f.store.usage().unwrap().layers, 0);
            assert_eq!(f.store.usage().unwrap().blobs, 0);
            Err(fault.to_string())
        }
    }
}

#[test]
fn hostile_archives_are_refused() {
    let check = |entries: &[E<'_>], want: &str| {
        let error = unpacked(entries).unwrap_err();
        assert!(error.contains(want), "`{error}` does not say `{want}`");
    };
    check(&[E::File("../outside", "x")], "its name contains `..`");
    check(&[E::File("a/../../outside", "x")], "its name contains `..`");
    check(&[E::File("/../outside", "x")], "its name contains `..`");
    check(&[E::Dir("a/../b")], "its name contains `..`");
    check(&[E::Link("out", "../.."), E::File("out/outside", "x")], "symbolic link that leaves the layer");
    check(&[E::Link("out", "/tmp"), E::File("out/x", "x")], "symbolic link that leaves the layer");
    check(&[E::Link("out", "/proc/self/cwd"), E::File("out/x", "x")], "symbolic link that leaves the layer");
    check(&[E::Link("out", "/etc"), E::Hard("h", "out/passwd")], "symbolic link that leaves the layer");
    check(&[E::Link("a", "b"), E::Link("b", "a"), E::File("a/x", "")], "circle");
    check(&[E::Hard("h", "../outside")], "hard link that leaves the layer");
    check(&[E::Hard("h", "/etc/passwd")], "which the layer has not");
    check(&[E::Hard("h", "missing")], "which the layer has not");
    check(&[E::Dir("d"), E::Hard("h", "d")], "hard link to a directory");
    check(&[E::Dev("w", 0, 0)], "means a whiteout");
    check(&[E::Kind("k", b'Q')], "unknown type `Q`");
    check(&[E::File(".wh...", "")], "malformed whiteout");
    check(&[E::File("d/.wh..", "")], "malformed whiteout");
    check(&[E::File("", "x")], "without a name");
    check(&[E::Link("l", "")], "symbolic link to nothing");
}

#[test]
fn odd_archives_mean_what_they_say() {
    let check = |entries: &[E<'_>], want: &[&str]| assert_eq!(unpacked(entries).unwrap(), want);
    check(&[], &[]);
    check(&[E::Dir("./"), E::File("./a", "1"), E::File("/b//c/./d", "2")], &["a", "b", "b/c", "b/c/d"]);
    check(&[E::File("a", "1"), E::File("a/b", "2")], &["a", "a/b"]);
    check(&[E::File("d/x", "1"), E::File("d", "2")], &["d"]);
    check(&[E::Dir("d"), E::File("d/x", ""), E::Link("d", "elsewhere")], &["d"]);
    check(&[E::Dir("real"), E::Link("l", "real"), E::File("l/x", "")], &["l", "real", "real/x"]);
    check(&[E::Link("l", "/absolute/../../x"), E::Hard("h", "l")], &["h", "l"]);
    check(&[E::File("a", "1"), E::Hard("b", "/a"), E::File("a", "2")], &["a", "b"]);
    check(&[E::File("d/.wh..wh..opq", ""), E::File("d/.wh.x", ""), E::File("d/y", "")], &["d", "d/y"]);
    check(&[E::File(".wh..wh.aufs", ""), E::File("x", "")], &["x"]);
    check(&[E::File("x", "stays"), E::File(".wh.x", "")], &["x"]);
}

#[test]
fn whiteouts_hide_lower_files_in_any_order() {
    let lower = archive(&[E::File("d/old", ""), E::File("d/keep", ""), E::File("e/old", ""), E::File("f", "")]);
    let uppers: [(&[E<'_>], &[&str]); 5] = [
        (&[E::File("d/.wh.old", ""), E::File(".wh.f", "")], &["d", "d/keep", "e", "e/old"]),
        (&[E::File("e/.wh..wh..opq", ""), E::File("e/new", "")], &["d", "d/keep", "d/old", "e", "e/new", "f"]),
        (&[E::File("e/new", ""), E::File("e/.wh..wh..opq", "")], &["d", "d/keep", "d/old", "e", "e/new", "f"]),
        (&[E::File(".wh.e", ""), E::Dir("e"), E::File("e/new", "")], &["d", "d/keep", "d/old", "e", "e/new", "f"]),
        (&[E::File("e/new", ""), E::File(".wh.e", "")], &["d", "d/keep", "d/old", "e", "e/new", "f"]),
    ];
    for (upper, want) in uppers {
        let f = fixture();
        let mut stack = Snapshot::empty();
        for tar in [lower.clone(), archive(upper)] {
            let (path, expected) = blob(f.dir.path(), &tar, Compression::Zstd);
            stack = stack.with(f.store.unpack(&path, Compression::Zstd, &expected).unwrap());
        }
        let seen = show(&f.store, &stack);
        let seen: Vec<&str> = seen.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(seen, want);
        let flat = f.store.flatten(&stack).unwrap();
        assert_eq!(show(&f.store, &flat), show(&f.store, &stack));
    }
}

#[test]
fn damaged_blobs_are_told_and_leave_nothing() {
    let tar = archive(&[E::File("a", &"content ".repeat(500)), E::File("b", "more")]);
    type Damage = fn(&mut Vec<u8>, &mut LayerBlob);
    let cases: [(Damage, &str); 6] = [
        (|packed, _| packed.truncate(packed.len() / 2), "truncated"),
        (|packed, _| packed.push(0), "too long"),
        (|packed, _| packed[20] ^= 1, "has the digest"),
        (|_, blob| blob.digest = rondel_digest::Sha256Digest::of_bytes(b"x"), "has the digest"),
        (|_, blob| blob.diff_id = rondel_digest::Sha256Digest::of_bytes(b"x"), "instead of"),
        (
            |packed, blob| {
                packed.truncate(packed.len() / 2);
                blob.digest = rondel_digest::Sha256Digest::of_bytes(packed);
                blob.size = packed.len() as u64;
            },
            "the archive is damaged",
        ),
    ];
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for (damage, want) in cases {
            let f = fixture();
            let (path, mut expected) = blob(f.dir.path(), &tar, compression);
            let mut packed = fs::read(&path).unwrap();
            damage(&mut packed, &mut expected);
            fs::write(&path, packed).unwrap();
            let fault = f.store.unpack(&path, compression, &expected).unwrap_err();
            assert!(fault.to_string().contains(want), "`{fault}` does not say `{want}` ({compression:?})");
            assert!(fault.to_string().contains(&expected.digest.to_string()), "{fault}");
            assert_eq!(fault.kind(), Kind::Environment);
            assert_eq!(leftovers(&f.store), 0);
            assert_eq!(f.store.usage().unwrap(), Default::default());
        }
    }
}

#[test]
fn several_gzip_members_are_one_stream() {
    let f = fixture();
    let tar = archive(&[E::File("a", "1")]);
    let (front, back) = tar.split_at(700);
    let mut packed = Vec::new();
    for part in [front, back] {
        let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    let path = f.dir.path().join("blob");
    fs::write(&path, &packed).unwrap();
    let mut expected = blob(f.dir.path(), &tar, Compression::None).1;
    expected.digest = rondel_digest::Sha256Digest::of_bytes(&packed);
    expected.size = packed.len() as u64;
    f.store.unpack(&path, Compression::Gzip, &expected).unwrap();
}

#[test]
fn bombs_are_bounded() {
    let check = |limits: Limits, want: &str| {
        let f = fixture_with(Options { limits, ..Options::default() });
        let tar = archive(&[E::File("a", "12345"), E::File("b", "12345"), E::File("c", "12345")]);
        let (path, expected) = blob(f.dir.path(), &tar, Compression::Gzip);
        let fault = f.store.unpack(&path, Compression::Gzip, &expected).unwrap_err();
        assert!(fault.to_string().contains(want), "{fault}");
        assert_eq!(leftovers(&f.store), 0);
    };
    check(Limits { entries: 2, ..Limits::default() }, "more than 2 entries");
    check(Limits { bytes: 10, ..Limits::default() }, "more than 10 bytes");
}

#[test]
fn the_same_blob_is_packed_again() {
    let f = fixture();
    let (path, expected) = blob(f.dir.path(), &archive(&[E::File("a", "1")]), Compression::Gzip);
    let layer = f.store.unpack(&path, Compression::Gzip, &expected).unwrap();
    let (again, kept) = f.store.pack(&layer, Compression::Gzip).unwrap();
    assert_eq!(again, expected);
    assert_eq!(fs::read(kept).unwrap(), fs::read(path).unwrap());
    assert_eq!(f.store.blob(&expected.digest), Some(f.store.pack(&layer, Compression::Gzip).unwrap().1));
    let (zstd, _) = f.store.pack(&layer, Compression::Zstd).unwrap();
    assert_ne!(zstd.digest, expected.digest);
}

#[test]
fn wrong_blobs_are_not_kept() {
    let f = fixture();
    let digest = rondel_digest::Sha256Digest::of_bytes(b"right");
    let error = f.store.put_blob(&digest, &mut b"wrong".as_slice()).unwrap_err().to_string();
    assert!(error.contains("its content has the digest"), "{error}");
    assert_eq!(f.store.blob(&digest), None);
    let path = f.store.put_blob(&digest, &mut b"right".as_slice()).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"right");
    assert_eq!(leftovers(&f.store), 0);
}

/// Made with GNU tar, so that the forms are those of the field.
#[test]
fn gnu_tar_forms() {
    let source = tempfile::tempdir().unwrap();
    let holes = fs::File::create(source.path().join("holes")).unwrap();
    holes.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&holes, b"middle", 1 << 20).unwrap();
    for n in 0..40u64 {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"part", (2 << 20) + n * 16384).unwrap();
    }
    let long = "x".repeat(150);
    fs::create_dir_all(source.path().join(&long)).unwrap();
    fs::write(source.path().join(&long).join(&long), "long").unwrap();
    std::os::unix::fs::symlink("y".repeat(140), source.path().join("link")).unwrap();
    let want = fs::read(source.path().join("holes")).unwrap();
    for args in [
        &["--format=gnu", "--sparse"][..],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=gnu"],
    ] {
        let output = std::process::Command::new("tar")
            .args(args)
            .args(["--sort=name", "-c", "-C"])
            .arg(source.path())
            .arg(".")
            .output()
            .unwrap();
        assert!(output.status.success());
        let f = fixture();
        let (path, expected) = blob(f.dir.path(), &output.stdout, Compression::None);
        let layer = f.store.unpack(&path, Compression::None, &expected).unwrap();
        let tree = f.store.view(&Snapshot::empty().with(layer)).unwrap();
        let root = at(&tree.root);
        assert!(fs::read(root.join("holes")).unwrap() == want, "{args:?}");
        assert!(fs::metadata(root.join("holes")).unwrap().blocks() < 2048 || args.len() == 1);
        assert_eq!(fs::read(root.join(&long).join(&long)).unwrap(), b"long");
        assert_eq!(fs::read_link(root.join("link")).unwrap().as_os_str().len(), 140);
    }
}

#[test]
fn owners_and_devices() {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o4755);
    header.set_uid(3_000_000);
    header.set_gid(12);
    header.set_path("file").unwrap();
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Char);
    header.set_size(0);
    header.set_mode(0o666);
    header.set_uid(0);
    header.set_gid(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    header.set_path("null").unwrap();
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let f = fixture();
    let (path, expected) = blob(f.dir.path(), &tar, Compression::None);
    let layer = f.store.unpack(&path, Compression::None, &expected).unwrap();
    let (packed, path) = f.store.pack(&layer, Compression::Zstd).unwrap();
    let tar = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
    assert_eq!(rondel_digest::Sha256Digest::of_bytes(&tar), packed.diff_id);
    let mut archive = tar::Archive::new(tar.as_slice());
    let seen: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let pax: Vec<String> = entry.pax_extensions().unwrap().map_or(Vec::new(), |pax| {
                pax.map(|p| p.unwrap()).map(|p| format!("{}={}", p.key().unwrap(), p.value().unwrap())).collect()
            });
            let header = entry.header();
            format!(
                "{} {:?} {:o} {:?} {:?}",
                entry.path().unwrap().display(),
                header.entry_type(),
                header.mode().unwrap(),
                (header.device_major().unwrap(), header.device_minor().unwrap()),
                pax
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "./ Directory 755 (Some(0), Some(0)) []",
            "file Regular 4755 (Some(0), Some(0)) [\"uid=3000000\"]",
            "null Char 666 (Some(1), Some(3)) []",
        ]
    );
}

#[test]
fn processes_forge_neither_owners_nor_devices() {
    let f = fixture();
    let base = support::change(&f.store, &Snapshot::empty(), |root, _| {
        for name in ["owner", "device", "overlay"] {
            fs::write(root.join(name), "").unwrap();
            std::os::unix::fs::chown(root.join(name), Some(1000), Some(1000)).unwrap();
        }
        support::set_xattr(&root.join("owner"), "user.rondel.owner", b"0:0");
        support::set_xattr(&root.join("device"), "user.rondel.device", b"b 8 0");
        support::set_xattr(&root.join("overlay"), "user.overlay.rondel.device", b"b 8 0");
    });
    let (_, path) = f.store.pack(&base.layers()[0], Compression::None).unwrap();
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let mut seen = 0;
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        if header.entry_type() != EntryType::Directory {
            assert_eq!(header.entry_type(), EntryType::Regular);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (1000, 1000));
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}
