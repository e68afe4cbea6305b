//! What `job deploy --print` prints is what lies in `assets/deploy/`.

use fill_audit::remote::job::template;
use std::process::Command;

fn print(args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
    for name in [
        "GOOGLE_CLOUD_PROJECT",
        "CLOUDSDK_RUN_REGION",
        "FILL_AUDIT_BUCKET",
    ] {
        command.env_remove(name);
    }
    let output = command.args(["job", "deploy"]).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn without_values_it_is_the_file_with_the_commands_below_it() {
    let (ok, job, _) = print(&["--print"]);
    assert!(ok);
    let below = job.strip_prefix(template::JOB).unwrap();
    let commands: Vec<&str> = below
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let wanted: Vec<&str> = template::COMMANDS.lines().collect();
    assert_eq!(commands, wanted);
    assert_eq!(print(&["--print=service"]).1, template::SERVICE);
    assert_eq!(print(&["--print=commands"]).1, template::COMMANDS);
}

#[test]
fn with_values_nothing_is_left_open_and_what_could_break_out_is_refused() {
    let values = [
        "--project=demo-1",
        "--region=europe-west4",
        "--job=fill-audit",
        "--service=worker",
        "--bucket=gs://demo-1.firebasestorage.app",
        "--models-bucket=demo-1-models",
        "--image=europe-west4-docker.pkg.dev/demo-1/audit/fill-audit:1",
        "--account=fill-audit@demo-1.iam.gserviceaccount.com",
    ];
    for what in ["--print", "--print=service", "--print=commands"] {
        let (ok, text, _) = print(&[&[what], &values[..]].concat());
        assert!(ok && !text.contains("${"), "{text}");
        assert!(text.contains("demo-1-models"), "{text}");
    }
    for wrong in ["--image=x; rm -rf /", "--project=a/b", "--account=$(id)"] {
        let (ok, text, error) = print(&["--print", wrong]);
        assert!(!ok && text.is_empty(), "{text}");
        assert!(error.contains("cannot be used"), "{error}");
    }
    // Nothing is printed unasked: later there may be more to deploy than words.
    assert!(!print(&[]).0);
}

#[test]
fn the_job_and_the_service_are_as_the_planner_counts_on() {
    for (yaml, facts) in [
        (
            template::JOB,
            &[
                "timeoutSeconds: 3600",
                "cpu: '8'",
                "memory: 32Gi",
                "maxRetries: 3",
            ][..],
        ),
        (
            template::SERVICE,
            &[
                "autoscaling.knative.dev/minScale: '1'",
                "autoscaling.knative.dev/maxScale: '1'",
                "run.googleapis.com/cpu-throttling: 'false'",
                "cpu: '8'",
                "memory: 32Gi",
            ],
        ),
    ] {
        for fact in facts {
            assert!(yaml.contains(fact), "{fact} is not in {yaml}");
        }
        assert!(yaml.contains("run.googleapis.com/accelerator: nvidia-l4"));
    }
    let price = fill_audit::remote::job::Price::default();
    assert_eq!((price.cpus, price.memory_gib), (8, 32));
}
