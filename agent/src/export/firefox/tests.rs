use super::*;
use crate::export::testing::profile;

fn written(profiles: &[Profile]) -> Value {
    let mut out = Vec::new();
    write(profiles, |ns| ns + 1_700_000_000_000_000_000, &mut out).expect("a Vec takes all");
    serde_json::from_slice(&out).expect("JSON")
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("an index")).expect("small")
}

/// The frames of a sample, from the leaf to the root, as the format's tables have them.
fn stack(file: &Value, sample: &Value) -> Vec<String> {
    let shared = &file["shared"];
    let mut names = Vec::new();
    let mut stack = sample.clone();
    while !stack.is_null() {
        let at = index(&stack);
        let frame = index(&shared["stackTable"]["frame"][at]);
        let frames = &shared["frameTable"];
        let function = index(&frames["func"][frame]);
        let name = index(&shared["funcTable"]["name"][function]);
        let category = index(&frames["category"][frame]);
        names.push(format!(
            "{} {} {} {}",
            shared["stringArray"][name].as_str().expect("text"),
            frames["inlineDepth"][frame],
            file["meta"]["categories"][category]["name"]
                .as_str()
                .expect("text"),
            frames["line"][frame],
        ));
        let caller = &shared["stackTable"]["prefix"][at];
        assert!(caller.is_null() || index(caller) < at, "callers come first");
        stack = caller.clone();
    }
    names
}

#[test]
fn threads_have_their_stacks_with_inlined_functions() {
    let file = written(&[profile()]);
    let threads = file["threads"].as_array().expect("threads");
    assert_eq!(threads.len(), 2);
    let worker = &threads[1];
    assert_eq!(
        (&worker["name"], &worker["pid"], &worker["tid"]),
        (&json!("worker"), &json!("42"), &json!(43))
    );
    assert_eq!(worker["isMainThread"], false);
    assert_eq!(threads[0]["isMainThread"], true);
    assert_eq!(worker["samples"]["weight"], json!([3]));
    assert_eq!(
        stack(&file, &worker["samples"]["stack"][0]),
        [
            "vfs_read 0 Kernel null",
            "copy 1 Native 7",
            "a;b\n 0 Native 40",
            "main 0 Native null",
        ]
    );
}

#[test]
fn a_stack_is_as_long_as_its_samples() {
    let mut profile = profile();
    let mut second = profile.stacks[0].clone();
    second.locations.pop();
    second.count = 2;
    profile.stacks.push(second);
    let file = written(&[profile]);
    let samples = &file["threads"][1]["samples"];
    assert_eq!(samples["time"], json!([0.0, 30.0]));
    assert_eq!(samples["weight"], json!([3, 2]));
    assert_eq!(file["meta"]["interval"], 10.0);
    assert_eq!(file["meta"]["startTime"], 1_700_000_001_000.0);
}

#[test]
fn each_column_has_a_value_for_each_row() {
    let file = written(&[profile(), profile()]);
    let tables = file["shared"].as_object().expect("tables");
    let mut checked = 0;
    for (name, table) in tables {
        let Some(columns) = table.as_object() else {
            continue;
        };
        let length = index(&columns["length"]);
        for (column, values) in columns.iter().filter(|(column, _)| *column != "length") {
            let values = values.as_array().expect("a column");
            assert_eq!(values.len(), length, "{name}.{column}");
            checked += 1;
        }
    }
    assert!(checked > 25);
    let libs = file["libs"].as_array().expect("libraries");
    let libs: Vec<_> = libs
        .iter()
        .map(|lib| (&lib["name"], &lib["codeId"]))
        .collect();
    let (shop, kernel) = (json!("shop"), json!("[kernel]"));
    assert_eq!(
        libs,
        [(&shop, &json!("abcd")), (&kernel, &Value::Null)],
        "equal libraries are one"
    );
}

/// As `dump_syms` names a file (Breakpad, `src/common/linux/file_id.cc`).
#[test]
fn a_build_id_is_breakpads() {
    let file = {
        let mut profile = profile();
        let id: Vec<u8> = (0x10..0x24).collect();
        profile.mappings[0].build_id = Some(id.into());
        written(&[profile])
    };
    let libs = file["libs"].as_array().expect("libraries");
    let id = libs
        .iter()
        .find(|lib| lib["name"] == "shop")
        .map(|lib| &lib["breakpadId"]);
    assert_eq!(id, Some(&json!("131211101514171618191A1B1C1D1E1F0")));
}
