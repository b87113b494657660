//! Layers through real overlay mounts.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rondel_model::Snapshot;
use rondel_ports::dirs::Volumes;
use rondel_ports::snapshots::{Compression, LayerBlobs, Layers, Snapshots};
use rondel_store::{Options, Store};
use support::{at, change, fixture, fixture_with, get_xattr, leftovers, set_mtime, set_xattr, show};

#[test]
fn the_empty_snapshot() {
    let f = fixture();
    assert_eq!(show(&f.store, &Snapshot::empty()), [""; 0]);
    assert!(f.store.touch_if_present(&Snapshot::empty()));
    let tree = f.store.view(&Snapshot::empty()).unwrap();
    let error = fs::write(at(&tree.root).join("x"), "").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let same = change(&f.store, &Snapshot::empty(), |_, _| {});
    assert_eq!(same, Snapshot::empty());
    assert_eq!(leftovers(&f.store), 0);
}

#[test]
fn equal_work_gives_an_equal_layer() {
    let f = fixture();
    let work = |root: &Path, _: &_| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "content").unwrap();
        fs::hard_link(root.join("a/b/file"), root.join("a/other")).unwrap();
        symlink("b/file", root.join("a/link")).unwrap();
        fs::set_permissions(root.join("a/b/file"), fs::Permissions::from_mode(0o4750)).unwrap();
    };
    let first = change(&f.store, &Snapshot::empty(), work);
    let second = change(&f.store, &Snapshot::empty(), work);
    assert_eq!(first, second);
    assert_eq!(first.layers().len(), 1);
    assert_eq!(leftovers(&f.store), 0);

    let different: [&dyn Fn(&Path); 7] = [
        &|root| fs::write(root.join("a/b/file"), "Content").unwrap(),
        &|root| fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o700)).unwrap(),
        &|root| set_mtime(&root.join("a/b/file"), 7),
        &|root| set_mtime(&root.join("a/b"), 7),
        &|root| set_xattr(&root.join("a/b/file"), "user.note", b"1"),
        &|root| {
            fs::remove_file(root.join("a/other")).unwrap();
            fs::copy(root.join("a/b/file"), root.join("a/other")).unwrap();
        },
        &|root| {
            fs::remove_file(root.join("a/link")).unwrap();
            symlink("b/fil", root.join("a/link")).unwrap();
        },
    ];
    let mut seen = HashSet::from([first]);
    for (n, more) in different.iter().enumerate() {
        let other = change(&f.store, &Snapshot::empty(), |root, tree| {
            work(root, tree);
            more(root);
        });
        assert!(seen.insert(other), "change {n} is not seen");
    }
}

#[test]
fn nothing_is_left_of_what_came_and_went() {
    let f = fixture();
    let base = change(&f.store, &Snapshot::empty(), |root, _| {
        fs::create_dir_all(root.join("etc/conf")).unwrap();
        fs::write(root.join("etc/hosts"), "x").unwrap();
        set_mtime(&root.join("etc/conf"), 1000);
        set_mtime(&root.join("etc"), 1000);
    });
    let after = change(&f.store, &base, |root, _| {
        fs::create_dir(root.join("etc/conf/mountpoint")).unwrap();
        fs::remove_dir(root.join("etc/conf/mountpoint")).unwrap();
        fs::write(root.join("tmpfile"), "").unwrap();
        fs::remove_file(root.join("tmpfile")).unwrap();
        fs::read(root.join("etc/hosts")).unwrap();
    });
    assert_eq!(after, base);
    let after = change(&f.store, &base, |root, _| {
        fs::create_dir(root.join("etc/conf/mountpoint")).unwrap();
        fs::remove_dir(root.join("etc/conf/mountpoint")).unwrap();
        fs::write(root.join("etc/new"), "").unwrap();
    });
    let same = change(&f.store, &base, |root, _| fs::write(root.join("etc/new"), "").unwrap());
    assert_eq!(after, same);
    let listed = |s: &Snapshot| {
        fs::read_dir(f.store.state_dir().join(format!("layers/{}/fs/etc", s.layers()[1]))).unwrap().count()
    };
    assert_eq!(listed(&after), 1);
    let chmod = change(&f.store, &base, |root, _| {
        fs::set_permissions(root.join("etc/conf"), fs::Permissions::from_mode(0o711)).unwrap();
    });
    assert_ne!(chmod, base);
    let old = change(&f.store, &base, |root, _| set_mtime(&root.join("etc/conf"), 5));
    assert_ne!(old, base);
}

#[test]
fn the_layers_that_decide_what_is_at_a_path() {
    let f = fixture();
    let mut stack = Snapshot::empty();
    let mut add = |write: &dyn Fn(&Path)| {
        stack = change(&f.store, &stack, |root, _| write(root));
        stack.clone()
    };
    add(&|root| {
        fs::create_dir_all(root.join("a/in")).unwrap();
        fs::create_dir_all(root.join("b")).unwrap();
        fs::write(root.join("a/in/f"), "1").unwrap();
        fs::write(root.join("b/f"), "1").unwrap();
    });
    add(&|root| fs::write(root.join("b/f"), "2").unwrap());
    add(&|root| fs::write(root.join("a/g"), "3").unwrap());
    add(&|root| fs::remove_file(root.join("a/in/f")).unwrap());
    add(&|root| {
        fs::remove_dir_all(root.join("b")).unwrap();
        fs::create_dir(root.join("b")).unwrap();
        fs::write(root.join("b/h"), "5").unwrap();
    });
    let last = add(&|root| {
        fs::remove_dir_all(root.join("a/in")).unwrap();
        fs::write(root.join("a/in"), "6").unwrap();
    });
    let deciding = |upto: usize, path: &str| -> Vec<usize> {
        let part = Snapshot::new(&last.layers()[..upto]);
        let found = f.store.layers_at(&part, Path::new(path)).unwrap();
        found.iter().map(|layer| 1 + last.layers().iter().position(|other| other == layer).unwrap()).collect()
    };
    assert_eq!(deciding(2, "a"), [1]);
    assert_eq!(deciding(2, "b"), [1, 2]);
    assert_eq!(deciding(2, "b/f"), [2]);
    assert_eq!(deciding(3, "a"), [1, 3]);
    assert_eq!(deciding(3, "a/in"), [1]);
    assert_eq!(deciding(4, "a/in"), [1, 4]);
    assert_eq!(deciding(5, "b"), [5]);
    assert_eq!(deciding(5, "a"), [1, 3, 4]);
    assert_eq!(deciding(6, "a/in"), [6]);
    assert_eq!(deciding(6, "b/h"), [5]);
}

#[test]
fn whiteouts_and_opaque_directories() {
    let f = fixture();
    let base = change(&f.store, &Snapshot::empty(), |root, _| {
        fs::create_dir_all(root.join("d/sub")).unwrap();
        fs::create_dir_all(root.join("e")).unwrap();
        fs::write(root.join("d/old"), "1").unwrap();
        fs::write(root.join("d/sub/old"), "2").unwrap();
        fs::write(root.join("e/old"), "3").unwrap();
        fs::write(root.join("gone"), "4").unwrap();
    });
    let top = change(&f.store, &base, |root, _| {
        fs::remove_file(root.join("gone")).unwrap();
        fs::remove_file(root.join("d/old")).unwrap();
        fs::remove_dir_all(root.join("e")).unwrap();
        fs::create_dir(root.join("e")).unwrap();
        fs::write(root.join("e/new"), "5").unwrap();
        fs::remove_dir_all(root.join("d/sub")).unwrap();
        fs::write(root.join("d/sub"), "a file now").unwrap();
    });
    let names = |lines: Vec<String>| lines.iter().map(|l| l.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    let want = ["d", "d/sub", "e", "e/new"];
    assert_eq!(names(show(&f.store, &top)), want);

    let flat = f.store.flatten(&top).unwrap();
    assert_eq!(flat.layers().len(), 1);
    assert_eq!(show(&f.store, &flat), show(&f.store, &top));
    assert_eq!(f.store.flatten(&top).unwrap(), flat);

    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let other = fixture();
        let mut layers = Vec::new();
        for layer in top.layers() {
            let (blob, path) = f.store.pack(layer, compression).unwrap();
            assert_eq!(f.store.pack(layer, compression).unwrap().0, blob);
            layers.push(other.store.unpack(&path, compression, &blob).unwrap());
            assert_eq!(other.store.layer_of_diff(&blob.diff_id), layers.last().copied());
        }
        assert_eq!(show(&other.store, &Snapshot::new(layers)), show(&f.store, &top));
        assert_eq!(leftovers(&other.store), 0);
        assert_eq!(other.store.verify().unwrap().problems, [""; 0]);
    }
    let top_only = Snapshot::new(&top.layers()[1..]);
    assert!(names(show(&f.store, &top_only)).contains(&"d/sub".to_owned()));
    assert!(!names(show(&f.store, &top_only)).contains(&"gone".to_owned()));
}

#[test]
fn the_root_directory_keeps_its_attributes() {
    let f = fixture();
    let base = change(&f.store, &Snapshot::empty(), |root, _| {
        fs::set_permissions(root, fs::Permissions::from_mode(0o1777)).unwrap();
    });
    assert_eq!(base.layers().len(), 1);
    let top = change(&f.store, &base, |root, _| fs::write(root.join("x"), "").unwrap());
    for snapshot in [&base, &top] {
        let tree = f.store.view(snapshot).unwrap();
        assert_eq!(fs::metadata(at(&tree.root)).unwrap().mode() & 0o7777, 0o1777);
    }
}

#[test]
fn high_stacks_are_merged_below() {
    let f = fixture_with(Options { flatten_above: 4, ..Options::default() });
    let mut snapshot = Snapshot::empty();
    for n in 0..15 {
        snapshot = change(&f.store, &snapshot, |root, _| {
            fs::write(root.join(format!("f{n}")), n.to_string()).unwrap();
            if n > 0 && n % 3 == 0 {
                fs::remove_file(root.join(format!("f{}", n - 1))).unwrap();
            }
        });
        assert_eq!(snapshot.layers().len(), n + 1);
    }
    let lines = show(&f.store, &snapshot);
    assert_eq!(lines.len(), 15 - 4, "{lines:?}");
    assert_eq!(f.store.verify().unwrap().problems, [""; 0]);
}

#[test]
fn a_stack_of_a_hundred_layers_and_more() {
    let f = fixture();
    let mut snapshot = Snapshot::empty();
    for n in 0..130 {
        snapshot = change(&f.store, &snapshot, |root, _| fs::write(root.join("n"), n.to_string()).unwrap());
    }
    assert!(show(&f.store, &snapshot)[0].ends_with("\"129\""));
}

#[test]
fn metadata_survives_packing() {
    let f = fixture();
    let long = "n".repeat(200);
    let base = change(&f.store, &Snapshot::empty(), |root, _| {
        let file = root.join("file");
        fs::write(&file, "x").unwrap();
        set_xattr(&file, "user.binary", b"a\nb\0c\xff");
        set_mtime(&file, 1_234_567_890);
        fs::create_dir_all(root.join(&long).join(&long)).unwrap();
        fs::write(root.join(&long).join(&long).join("deep"), "y").unwrap();
        symlink("t".repeat(180), root.join("link")).unwrap();
        let holes = fs::File::create(root.join("holes")).unwrap();
        holes.set_len(5 << 20).unwrap();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"odd \xfe\n")), "z").unwrap();
    });
    let other = fixture();
    let (blob, path) = f.store.pack(&base.layers()[0], Compression::Zstd).unwrap();
    let layer = other.store.unpack(&path, Compression::Zstd, &blob).unwrap();
    assert_eq!(show(&other.store, &Snapshot::empty().with(layer)), show(&f.store, &base));
    let tree = other.store.view(&Snapshot::empty().with(layer)).unwrap();
    let file = at(&tree.root).join("file");
    assert_eq!(get_xattr(&file, "user.binary"), b"a\nb\0c\xff");
    assert_eq!(fs::metadata(&file).unwrap().mtime(), 1_234_567_890);

    let third = fixture();
    let (again, path) = other.store.pack(&layer, Compression::None).unwrap();
    assert_eq!(again.diff_id, blob.diff_id);
    assert_eq!(third.store.unpack(&path, Compression::None, &again).unwrap(), layer);
}

#[test]
fn a_large_layer_is_one_stream_and_the_same_every_time() {
    let f = fixture();
    let noise = |root: &Path| {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 58) as u8
        };
        let bytes: Vec<u8> = (0..3_000_001).map(|_| next()).collect();
        fs::write(root.join("large"), bytes).unwrap();
        set_mtime(&root.join("large"), 7);
        set_mtime(root, 7);
    };
    let large = change(&f.store, &Snapshot::empty(), |root, _| noise(root));
    let (blob, path) = f.store.pack(&large.layers()[0], Compression::Gzip).unwrap();
    let mut tar = Vec::new();
    // Of several streams one after the other, this reads the first.
    let packed = fs::read(path).unwrap();
    flate2::bufread::GzDecoder::new(packed.as_slice()).read_to_end(&mut tar).unwrap();
    assert_eq!(rondel_digest::Sha256Digest::of_bytes(&tar), blob.diff_id);
    assert!(packed.len() < tar.len() * 8 / 10, "{} of {}", packed.len(), tar.len());

    let other = fixture();
    let same = change(&other.store, &Snapshot::empty(), |root, _| noise(root));
    assert_eq!(other.store.pack(&same.layers()[0], Compression::Gzip).unwrap().0, blob);
}

#[test]
fn a_discarded_tree_leaves_nothing() {
    let f = fixture();
    let tree = f.store.prepare(&Snapshot::empty()).unwrap();
    fs::write(at(&tree.root).join("x"), "").unwrap();
    f.store.abort(tree);
    assert_eq!(leftovers(&f.store), 0);
}

#[test]
fn a_missing_layer_is_told() {
    let f = fixture();
    let missing = rondel_model::LayerId(rondel_digest::Digest::of_bytes(b"x"));
    let snapshot = Snapshot::empty().with(missing);
    assert!(!f.store.touch_if_present(&snapshot));
    let error = f.store.view(&snapshot).unwrap_err().to_string();
    assert!(error.contains("is missing in the store"), "{error}");
}

#[test]
fn pruning_keeps_what_it_shall() {
    let f = fixture();
    let a = change(&f.store, &Snapshot::empty(), |root, _| fs::write(root.join("a"), "a").unwrap());
    let b = change(&f.store, &a, |root, _| fs::write(root.join("b"), "b").unwrap());
    f.store.pack(&b.layers()[0], Compression::None).unwrap();
    f.store.pack(&b.layers()[1], Compression::None).unwrap();
    let freed = f.store.prune(&a.layers().iter().copied().collect(), &HashSet::new()).unwrap();
    assert_eq!((freed.layers, freed.blobs), (1, 1));
    assert!(f.store.touch_if_present(&a) && !f.store.touch_if_present(&b));
    assert_eq!(f.store.usage().unwrap().layers, 1);
    assert_eq!(leftovers(&f.store), 0);
}

#[test]
fn what_a_killed_engine_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = rondel_store::Store::open(dir.path(), Options::default()).unwrap();
        let tree = store.prepare(&Snapshot::empty()).unwrap();
        fs::write(at(&tree.root).join("x"), "").unwrap();
        fs::create_dir(dir.path().join("layers").join("0".repeat(64))).unwrap();
        std::mem::forget(tree.scratch);
    }
    let store = rondel_store::Store::open(dir.path(), Options::default()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("scratch")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
    drop(store);
}

#[test]
fn volumes_are_told_apart_by_name() {
    let f = fixture();
    let a = f.store.volume("a/../../b").unwrap();
    assert!(a.starts_with(f.store.state_dir().join("volumes")) && a.is_dir());
    assert_eq!(f.store.volume("a/../../b").unwrap(), a);
    assert_ne!(f.store.volume("other").unwrap(), a);
}

#[test]
fn xattrs_on_a_mount() {
    let f = fixture();
    let s = change(&f.store, &Snapshot::empty(), |root, _| {
        fs::write(root.join("f"), "").unwrap();
        set_xattr(&root.join("f"), "user.k", b"v");
    });
    let tree = f.store.view(&s).unwrap();
    assert_eq!(get_xattr(&at(&tree.root.as_fd()).join("f"), "user.k"), b"v");
}

#[test]
fn a_layer_may_occur_twice_below_a_change() {
    let f = fixture();
    let write = |name: &'static str| {
        move |root: &Path, _: &_| {
            let _ = fs::create_dir(root.join("d"));
            fs::write(root.join("d/file"), name).unwrap();
        }
    };
    let one = change(&f.store, &Snapshot::empty(), write("one"));
    let two = change(&f.store, &Snapshot::empty(), write("two"));
    let stack: Snapshot = [&one, &two, &one].iter().flat_map(|s| s.layers()).copied().collect::<Vec<_>>().into();
    assert!(show(&f.store, &stack)[1].ends_with("\"one\""));
    let changed = change(&f.store, &stack, |root, _| fs::write(root.join("d/other"), "x").unwrap());
    assert_eq!(changed.layers().len(), 4);
    assert_eq!(show(&f.store, &changed).len(), 3);
}

#[test]
fn what_a_power_cut_damaged_is_not_used() {
    let f = fixture();
    let write = |store: &Store, name: &str| {
        change(store, &Snapshot::empty(), |root, _| {
            fs::create_dir(root.join("d")).unwrap();
            fs::write(root.join("d").join(name), "content").unwrap();
        })
    };
    let (whole, cut, empty) = (write(&f.store, "whole"), write(&f.store, "cut"), write(&f.store, "empty"));
    let blob = |layer: &Snapshot| f.store.pack(&layer.layers()[0], Compression::Zstd).unwrap();
    let ((kept, _), (lost, path)) = (blob(&whole), blob(&cut));
    let state = f.store.state_dir().to_owned();
    let folder = |layer: &Snapshot| state.join("layers").join(layer.layers()[0].to_string());
    let damage = || {
        fs::write(folder(&cut).join("fs/d/cut"), "").unwrap();
        fs::write(folder(&empty).join("meta.json"), "").unwrap();
        fs::write(&path, "").unwrap();
    };
    drop(f.store);
    damage();
    fs::write(state.join("run"), "an earlier run").unwrap();
    // Who opens it and uses nothing leaves it in doubt.
    drop(Store::open(&state, Options::default()).unwrap());
    let store = Store::open(&state, Options::default()).unwrap();
    assert_eq!([&whole, &cut, &empty].map(|layer| store.touch_if_present(layer)), [true, false, false]);
    assert_eq!((store.blob(&kept.digest).is_some(), store.blob(&lost.digest)), (true, None));
    assert_eq!(store.verify().unwrap().problems, [""; 0]);
    assert_eq!((write(&store, "cut"), write(&store, "empty")), (cut.clone(), empty.clone()));
    drop(store);

    // What was made long before is not doubted.
    let record = folder(&cut).join("meta.json");
    let old: String = fs::read_to_string(&record).unwrap();
    let mut told: serde_json::Value = serde_json::from_str(&old).unwrap();
    told["made"] = 1.into();
    fs::write(&record, told.to_string()).unwrap();
    fs::write(folder(&cut).join("fs/d/cut"), "").unwrap();
    fs::write(state.join("run"), "an earlier run").unwrap();
    let store = Store::open(&state, Options::default()).unwrap();
    assert_eq!([&whole, &cut].map(|layer| store.touch_if_present(layer)), [true, true]);
    assert_eq!(store.verify().unwrap().problems.len(), 1);
}

#[test]
fn the_state_folder_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("made/state");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    drop(Store::open(&state, Options::default()).unwrap());
    assert_eq!(mode(&state), 0o700);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    drop(Store::open(&state, Options::default()).unwrap());
    assert_eq!(mode(&state), 0o700);
    // A folder for other things stays open to whom it is open.
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("somebody's"), "").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Store::open(&shared, Options::default()).err().unwrap();
    assert!(refused.to_string().contains("holds other things") && mode(&shared) == 0o755, "{refused}");
}
