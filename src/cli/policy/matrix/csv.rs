//! The matrix as CSV (RFC 4180), one line for each pair, family and port, for spreadsheets and databases.

use policy_compiler::query::{Cell, Matrix};

/// The whole matrix, with a header line.
pub(super) fn csv(matrix: &Matrix) -> String {
    let mut text = String::new();
    let header = if matrix.ports.is_empty() { "src,dst,family,open" } else { "src,dst,family,port,verdict" };
    text.push_str(header);
    text.push_str("\r\n");
    for pair in matrix.pairs() {
        let family = pair.family.to_string();
        match pair.cell {
            Cell::Open(open) => {
                line(&mut text, &[&pair.src.name, &pair.dst.name, &family, &open.to_string()]);
            }
            Cell::Ports(verdicts) => {
                for (port, verdict) in matrix.ports.iter().zip(verdicts) {
                    let (port, verdict) = (port.to_string(), verdict.to_string());
                    line(&mut text, &[&pair.src.name, &pair.dst.name, &family, &port, &verdict]);
                }
            }
        }
    }
    text
}

fn line(text: &mut String, fields: &[&str]) {
    for (position, field) in fields.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        if field.contains(['"', ',', '\r', '\n', ';']) {
            text.push('"');
            text.push_str(&field.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(field);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn fields_with_separators_are_quoted() {
        let mut text = String::new();
        line(&mut text, &["a/b", "TCP 80,443", "say \"x\"", "4"]);
        assert_eq!(text, "a/b,\"TCP 80,443\",\"say \"\"x\"\"\",4\r\n");
    }
}
