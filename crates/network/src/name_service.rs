//! How the C library finds the addresses of host names.

/// Makes a static binary look up names in files and by DNS only.
///
/// The C library would load further sources of names as plug-ins (`/etc/nsswitch.conf`). They
/// belong to the C library of the machine, and crash a binary that was linked with another one. A
/// binary that is linked dynamically uses them. Must be called before the first thread is started.
pub fn use_no_plugins() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const libc::c_char, services: *const libc::c_char) -> libc::c_int;
        }
        for (database, services) in [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")] {
            // SAFETY: both texts are constants, and no thread looks up a name yet. A C library that
            // does not know a database changes nothing.
            unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
        }
    }
}
