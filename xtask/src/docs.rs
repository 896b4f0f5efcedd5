use crate::run as build;
use crate::shell::{cargo, root, run};

pub(crate) fn docs() -> anyhow::Result<()> {
    let egret = build::build()?;
    run(cargo()
        .args(["test", "--quiet", "--locked", "--package", "egret", "--lib", "config::tests"])
        .env("UPDATE_GOLDEN", "1"))?;
    let generated = root().join("target/generated");
    run(std::process::Command::new(&egret).args(["generate", "man"]).arg(generated.join("man")))?;
    for shell in ["bash", "fish", "zsh"] {
        let output = std::process::Command::new(&egret).args(["generate", "completions", shell]).output()?;
        std::fs::write(generated.join(format!("egret.{shell}")), output.stdout)?;
    }
    println!("config/reference.md, config/schema.json, {}", generated.display());
    Ok(())
}
