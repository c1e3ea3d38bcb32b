#!/bin/sh
# Finishes an extracted root file system ($1): what the packages' own scripts would have done.
set -e
root=$1

# One account without rights, beside root and nobody.
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
echo 'app:x:65532:65532:app:/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'app:x:65532:' >>"$root/etc/group"

# The bundle of certificates; without it TLS fails in ways that do not say so.
cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"

# Compiled once here, since a read-only root file system cannot keep it.
for library in "$root"/usr/lib/python3.*; do
    [ -d "$library" ] || continue
    rm -rf "$library/idlelib" "$library/test" "$library/lib2to3/tests" "$library/pydoc_data"
    version=${library##*/}
    chroot "$root" "/usr/bin/$version" -m compileall -q --invalidation-mode unchecked-hash "/usr/lib/$version" || true
done

rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* \
    "$root"/usr/share/info/* "$root"/usr/share/lintian "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
