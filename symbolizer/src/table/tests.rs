use super::*;

fn table(functions: &[(u64, u64, &str, u8)]) -> Table {
    let mut builder = Builder::default();
    for (address, size, name, rank) in functions {
        builder.push(*address, *size, name.as_bytes(), *rank);
    }
    builder.finish()
}

fn name(table: &Table, address: u64) -> Option<String> {
    table.find(address).map(|symbol| symbol.name.into_owned())
}

#[test]
fn an_address_belongs_to_the_function_that_holds_it() {
    let table = table(&[(0x200, 0x10, "b", 0), (0x100, 0x20, "a", 0)]);
    assert_eq!(name(&table, 0xff), None);
    assert_eq!(name(&table, 0x100).as_deref(), Some("a"));
    assert_eq!(name(&table, 0x11f).as_deref(), Some("a"));
    assert_eq!(name(&table, 0x120), None, "the gap between two functions");
    assert_eq!(name(&table, 0x20f).as_deref(), Some("b"));
    assert_eq!(name(&table, u64::MAX), None);
}

#[test]
fn an_outer_function_is_found_behind_a_nested_one() {
    let table = table(&[(0x100, 0x100, "outer", 0), (0x140, 0x10, "inner", 0)]);
    assert_eq!(name(&table, 0x145).as_deref(), Some("inner"));
    assert_eq!(name(&table, 0x1a0).as_deref(), Some("outer"));
}

#[test]
fn a_function_without_size_reaches_to_the_next() {
    let table = table(&[(0x100, 0, "asm", 0), (0x180, 0x10, "next", 0)]);
    assert_eq!(name(&table, 0x17f).as_deref(), Some("asm"));
    assert_eq!(name(&table, 0x190), None);
}

#[test]
fn of_aliases_the_highest_rank_is_kept() {
    let table = table(&[
        (0x100, 8, "__write", 1),
        (0x100, 8, "write", 2),
        (0x100, 8, "local", 0),
    ]);
    assert_eq!(table.len(), 1);
    assert_eq!(name(&table, 0x100).as_deref(), Some("write"));
}

#[test]
fn an_empty_table_knows_nothing() {
    assert_eq!(name(&Table::default(), 0), None);
}
