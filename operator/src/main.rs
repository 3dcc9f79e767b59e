//! `chord-operator`: the operator for Kubernetes, and its helpers.

fn main() -> anyhow::Result<()> {
    if std::env::args().any(|a| a == "--write") {
        std::fs::write("crds/chordclusters.chord.storage.yaml", chord_operator::crd::schema::definition_yaml()?)?;
        std::fs::write("charts/chord-operator/templates/crd.yaml", chord_operator::crd::schema::definition_chart_template()?)?;
    }
    Ok(())
}
