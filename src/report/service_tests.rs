//! The service's table in the shapes in which it was seen and in those that it may take.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use super::*;

const REPORT: &str =
    include_str!("../../tests/fixtures/service-run/audit/20260222-025304/REPORT.md");

fn rows(header: &str, rows: &[&str]) -> ServiceReport {
    let rule = "|---".repeat(header.matches('|').count() - 1) + "|";
    ServiceReport::parse(&format!(
        "# Baseline Audit Report — x1\n\n{header}\n{rule}\n{}\n",
        rows.join("\n")
    ))
}

const HEADER: &str = "| Quant | Guidance | Steps | Wall-clock (s) | GPU time (ms) | Image |";

#[test]
fn the_services_own_report_is_read_whole() {
    let report = ServiceReport::parse(REPORT);
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!(report.run_id.unwrap().as_str(), "20260222-025304");
    assert_eq!(report.session.unwrap().as_str(), "D1A406F5");
    let gpu = report.environment.unwrap();
    assert_eq!(gpu.label(), "NVIDIA L4 (sm_89)");
    assert_eq!(gpu.memory_bytes, Some(24_159_191_040));
    assert_eq!(gpu.program, None);
    assert_eq!(report.rows.len(), 15);
    let row = &report.rows[7];
    assert_eq!((row.quant.as_str(), row.guidance.value()), ("Q5_K_S", 10.0));
    assert_eq!(row.timing.wall_secs, Some(47.3));
    assert_eq!(row.timing.gpu_millis, Some(46354.0));
    assert_eq!(row.picture.as_deref(), Some("Q5_K_S_gs10.png"));
    let section = report.acceleration_section.unwrap();
    assert!(
        section.starts_with("- Graph breaks detected: 3"),
        "{section}"
    );
    assert!(section.ends_with("- Recommendation: skip"), "{section}");
}

#[test]
fn crlf_and_a_byte_order_mark_change_nothing() {
    let crlf = format!("\u{feff}{}", REPORT.replace('\n', "\r\n"));
    let (a, mut b) = (ServiceReport::parse(REPORT), ServiceReport::parse(&crlf));
    b.acceleration_section = b.acceleration_section.map(|text| text.replace('\r', ""));
    assert_eq!(a, b);
}

#[test]
fn other_column_orders_extra_columns_and_units_are_understood() {
    let report = rows(
        "| # | Image | GPU ms | Peak VRAM | Guidance scale | Wall | Quantization | Notes |",
        &[
            r"| 1 | [view](u/Q4_0_gs10.png?a=b) | 44,100 | 9 GB | 10.0 | 45.2s | **Q4_0** ★ | a \| b |",
        ],
    );
    assert_eq!(report.warnings, Vec::<String>::new());
    let row = &report.rows[0];
    assert_eq!((row.quant.as_str(), row.guidance.value()), ("Q4_0", 10.0));
    assert_eq!(row.steps, Steps::PRODUCTION);
    assert_eq!(row.timing.wall_secs, Some(45.2));
    assert_eq!(row.timing.gpu_millis, Some(44_100.0));
    assert_eq!(row.error, None);
}

#[test]
fn an_escaped_pipe_in_a_column_does_not_shift_the_next() {
    let report = rows(
        "| Notes | Quant | Guidance | Steps | Wall-clock (s) | GPU time (ms) | Image |",
        &[r"| sharp \| good | Q8_0 | 2 | 28 | 50 | 49000 | [view](Q8_0_gs2.png) |"],
    );
    assert_eq!(report.rows[0].quant.as_str(), "Q8_0");
    assert_eq!(report.rows[0].timing.wall_secs, Some(50.0));
}

#[test]
fn failed_rows_say_what_went_wrong() {
    let report = rows(
        HEADER,
        &[
            "| Q8_0 | 2 | 28 | FAILED | - | CUDA error: out of memory |",
            "| Q8_0 | 4 | 28 | — | — | failed |",
            "| Q8_0 | 10 | 28 | n/a | n/a | n/a |",
        ],
    );
    assert_eq!(
        report.rows[0].error.as_deref(),
        Some("CUDA error: out of memory")
    );
    assert_eq!(report.rows[1].error.as_deref(), Some("failed"));
    assert_eq!(report.rows[2].error, None, "nothing said is nothing known");
    assert_eq!(report.warnings, Vec::<String>::new());
}

#[test]
fn a_status_column_counts_and_a_note_does_not() {
    let report = rows(
        "| Quant | Guidance | Status | Error | Notes |",
        &[
            "| Q4_0 | 2 | ok | none | no error seen |",
            "| Q4_0 | 4 | failed | latents are not finite | |",
            "| Q4_0 | 10 | error | | |",
        ],
    );
    assert_eq!(report.rows[0].error, None);
    assert_eq!(
        report.rows[1].error.as_deref(),
        Some("latents are not finite")
    );
    assert_eq!(report.rows[2].error.as_deref(), Some("error"));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let report = rows(
        HEADER,
        &[
            "| Q4_0 | ten | 28 | 45 | 44100 | [view](a.png) |",
            "| a/b | 10 | 28 | 45 | 44100 | [view](a.png) |",
            "| Q4_0 | 10 | many | quick | 44100 | [view](Q4_0_gs10.png) |",
            "| Q4_0 |",
        ],
    );
    let text = report.warnings.join("\n");
    for expected in [
        "line 5",
        "\"ten\"",
        "line 6",
        "\"a/b\"",
        "line 7",
        "\"many\"",
        "\"quick\"",
        "line 8",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(report.rows.len(), 1);
    assert_eq!(report.rows[0].timing.wall_secs, None);
    assert_eq!(report.rows[0].timing.gpu_millis, Some(44_100.0));
}

#[test]
fn unknown_quants_are_cells_too() {
    let report = rows(
        HEADER,
        &["| Q9_NEW.v2 | 2.5 | 28 | 45 | 44100 | [view](x.png) |"],
    );
    assert_eq!(report.rows[0].quant.as_str(), "Q9_NEW.v2");
    assert_eq!(report.rows[0].guidance, Guidance::new(2.5).unwrap());
}

#[test]
fn names_come_out_of_firebases_links_without_their_folders() {
    for (link, name) in [
        (
            "https://h/v0/b/x/o/audit%2Fr%2FQ4_0_gs2.png?alt=media&token=t",
            "Q4_0_gs2.png",
        ),
        ("audit/r/Q4_0_gs2.png", "Q4_0_gs2.png"),
        ("..%2f..%2fQ4_0_gs2.png#x", "Q4_0_gs2.png"),
    ] {
        assert_eq!(file_name(link).as_deref(), Some(name));
    }
    assert_eq!(file_name("https://h/a/.."), None);
}

#[test]
fn nothing_known_is_nothing_claimed() {
    let report = ServiceReport::parse("hello\n");
    assert_eq!(report.session, None);
    assert_eq!(report.environment, None);
    assert_eq!(report.warnings.len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|\n|\\||-|#){0,200}") {
        let _ = ServiceReport::parse(&text);
        let _ = ServiceReport::parse(&format!("| Quant | Guidance | Wall |\n|-|-|-|\n{text}"));
    }
}

#[test]
fn figures_about_the_gpu_are_no_times_and_the_first_time_is_taken() {
    let report = ServiceReport::parse(
        "| Quant | Guidance | Wall-clock (s) | Time per step (s) | GPU time (ms) | Peak GPU memory (MB) | GPU utilisation (%) | CUDA time (ms) |\n\
         |---|---|---|---|---|---|---|---|\n\
         | Q4_0 | 10 | 45.2 | 1.6 | 44,100 | 17,800 | 97 | 1 |\n",
    );
    let timing = &report.rows[0].timing;
    assert_eq!(
        (timing.wall_secs, timing.gpu_millis),
        (Some(45.2), Some(44_100.0))
    );
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(report.warnings[0].contains("CUDA time (ms)"));
}
