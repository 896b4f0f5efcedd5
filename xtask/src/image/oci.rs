//! Container images as the OCI image specification 1.1 defines them, in an archive that Docker reads as well. Equal content gives equal
//! bytes: entries are sorted, and have one owner and one time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What an image contains.
pub(super) struct Image<'a> {
    /// Name and tag.
    pub(super) name: &'a str,
    /// The architecture, as OCI calls it.
    pub(super) architecture: &'static str,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// The section `config` of the image's configuration.
    pub(super) config: Value,
    /// The annotations of the manifest.
    pub(super) annotations: Value,
    /// Files and directories; those above them are made.
    pub(super) entries: Vec<Entry>,
}

/// A file or a directory, of root.
pub(super) struct Entry {
    /// Relative to the root.
    path: &'static str,
    mode: u32,
    /// Absent for a directory.
    content: Option<Vec<u8>>,
}

impl Entry {
    pub(super) fn file(path: &'static str, mode: u32, content: Vec<u8>) -> Self {
        Self { path, mode, content: Some(content) }
    }

    pub(super) fn directory(path: &'static str, mode: u32) -> Self {
        Self { path, mode, content: None }
    }
}

impl Image<'_> {
    /// Writes the archive. Returns the digest of the image's manifest.
    pub(super) fn write(mut self, archive: &Path) -> anyhow::Result<String> {
        self.entries.sort_by_key(|entry| entry.path);
        let layer = self.layer()?;
        let packed = gzip(&layer)?;
        let config = bytes(&json!({
            "created": time(self.created)?,
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created": time(self.created)?, "created_by": "cargo xtask image"}],
        }))?;
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": [describe("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
            "annotations": self.annotations,
        }))?;
        let mut described = describe("application/vnd.oci.image.manifest.v1+json", &manifest);
        described["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        described["annotations"] = json!({
            "org.opencontainers.image.ref.name": self.name,
            "io.containerd.image.name": self.name,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [described],
        });
        // What Docker before version 25 reads.
        let docker = json!([{"Config": blob(&config), "RepoTags": [self.name], "Layers": [blob(&packed)]}]);
        let files = [
            ("oci-layout".to_owned(), bytes(&json!({"imageLayoutVersion": "1.0.0"}))?),
            ("index.json".to_owned(), bytes(&index)?),
            ("manifest.json".to_owned(), bytes(&docker)?),
            (blob(&manifest), manifest.clone()),
            (blob(&config), config.clone()),
            (blob(&packed), packed.clone()),
        ];
        let file = File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
        let mut builder = tar::Builder::new(BufWriter::new(file));
        for (path, content) in files {
            self.append(&mut builder, &path, 0o644, Some(&content))?;
        }
        builder.into_inner()?.flush()?;
        Ok(digest(&manifest))
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut made = BTreeSet::new();
        for entry in &self.entries {
            let above = Path::new(entry.path).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            for directory in above.collect::<BTreeSet<_>>() {
                if made.insert(directory) {
                    self.append(&mut builder, &directory.to_string_lossy(), 0o755, None)?;
                }
            }
            made.insert(Path::new(entry.path));
            self.append(&mut builder, entry.path, entry.mode, entry.content.as_deref())?;
        }
        Ok(builder.into_inner()?)
    }

    fn append(
        &self,
        builder: &mut tar::Builder<impl Write>,
        path: &str,
        mode: u32,
        content: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        let content = content.unwrap_or_default();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.created);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).with_context(|| format!("cannot add {path}"))
    }
}

fn gzip(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    writer.write_all(content)?;
    Ok(writer.finish()?)
}

fn bytes(value: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn describe(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn blob(content: &[u8]) -> String {
    format!("blobs/sha256/{}", hexadecimal(content))
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hexadecimal(content))
}

/// Returns the SHA-256 of a file.
pub(super) fn hexadecimal(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a time as RFC 3339 has it.
fn time(seconds: u64) -> anyhow::Result<String> {
    let output =
        Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date"]).arg(format!("@{seconds}")).output()?;
    ensure!(output.status.success(), "date: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: Vec<Entry>) -> (String, Vec<u8>) {
        let path = std::env::temp_dir().join(format!("egret-oci-{}-{}", std::process::id(), entries[0].path));
        let image = Image {
            name: "localhost/egret:1",
            architecture: "amd64",
            created: 1_700_000_000,
            config: json!({"Env": ["PATH=/"], "Entrypoint": ["/b"]}),
            annotations: json!({"org.opencontainers.image.title": "egret"}),
            entries,
        };
        let digest = image.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (digest, bytes)
    }

    #[test]
    fn equal_content_in_any_order_gives_an_equal_archive() {
        let (a, b) = (|| Entry::directory("a", 0o700), || Entry::file("b", 0o755, b"text".to_vec()));
        let first = archive(vec![a(), b()]);
        assert_eq!(first, archive(vec![b(), a()]));
        assert_ne!(first.0, archive(vec![a(), Entry::file("b", 0o755, b"texts".to_vec())]).0);
        assert_eq!(time(1_700_000_000).unwrap(), "2023-11-14T22:13:20Z");
    }
}
