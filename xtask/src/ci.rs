use crate::shell::{cargo, run, step};
use crate::{kernel, test};

pub(crate) fn ci() -> anyhow::Result<()> {
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    kernel::build()?;
    eprintln!("xtask: lint");
    run(cargo().args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    eprintln!("xtask: test");
    test::all()
}
