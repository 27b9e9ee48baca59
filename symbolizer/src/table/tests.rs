use super::*;

fn table(functions: &[(u64, u32, u32)], code: &[Range<u64>]) -> Table {
    let entry = |&(address, size, name)| Entry {
        address,
        size,
        name,
        file: 0,
    };
    Table::new(functions.iter().map(entry).collect(), code)
}

fn name(table: &Table, address: u64) -> Option<u32> {
    table.find(address).map(|function| function.name)
}

#[test]
fn an_address_belongs_to_the_function_that_holds_it() {
    let table = table(&[(0x200, 0x10, 2), (0x100, 0x20, 1)], &[]);
    assert_eq!(name(&table, 0xff), None);
    assert_eq!(name(&table, 0x100), Some(1));
    assert_eq!(name(&table, 0x11f), Some(1));
    assert_eq!(name(&table, 0x120), None, "the gap between two functions");
    assert_eq!(name(&table, 0x20f), Some(2));
    assert_eq!(name(&table, u64::MAX), None);
}

#[test]
fn an_outer_function_is_found_behind_a_nested_one() {
    let table = table(&[(0x100, 0x100, 1), (0x140, 0x10, 2)], &[]);
    assert_eq!(name(&table, 0x145), Some(2));
    assert_eq!(name(&table, 0x1a0), Some(1));
}

#[test]
fn a_function_without_size_reaches_to_the_next_or_to_its_sections_end() {
    let functions = [(0x100, 0, 1), (0x180, 0x10, 2), (0x190, 0, 3)];
    let table = table(&functions, &[0x100..0x1a0, 0x200..0x300]);
    assert_eq!(name(&table, 0x17f), Some(1));
    assert_eq!(name(&table, 0x19f), Some(3));
    assert_eq!(name(&table, 0x1a0), None);
    let open = super::Table::new(
        vec![Entry {
            address: 0x100,
            size: 0,
            name: 1,
            file: 0,
        }],
        &[],
    );
    assert_eq!(name(&open, 0x100), Some(1));
    assert_eq!(name(&open, 0x101), None, "nothing says how far it reaches");
}

#[test]
fn of_aliases_the_largest_counts_and_of_those_the_last() {
    let table = table(&[(0x100, 8, 1), (0x100, 8, 2), (0x100, 0, 3)], &[]);
    assert_eq!(table.len(), 1);
    assert_eq!(name(&table, 0x100), Some(2));
}

#[test]
fn addresses_of_64_bits_are_told_apart() {
    let far = 0xffff_ffff_8100_0000;
    let functions = [
        (0x100, 0x10, 1),
        (far, 0x10, 2),
        (0x1_0000_0100, 0x10, 3),
        // Across 4 GiB.
        (0x1_ffff_fff8, 0x10, 4),
        (0x2_0000_0004, 0x2, 5),
    ];
    let table = table(&functions, &[]);
    for (address, expected) in [
        (0x100, Some(1)),
        (far + 4, Some(2)),
        (far - 4, None),
        (0x1_0000_0100, Some(3)),
        (0x1_ffff_ffff, Some(4)),
        (0x2_0000_0001, Some(4)),
        (0x2_0000_0004, Some(5)),
        (0x2_0000_0007, Some(4)),
        (0x2_0000_0008, None),
        (0x3_0000_0100, None),
    ] {
        assert_eq!(name(&table, address), expected, "{address:#x}");
    }
}

#[test]
fn an_empty_table_knows_nothing() {
    assert_eq!(name(&Table::default(), 0), None);
}

/// Functions at places that follow no rule, in parts of any size: what a search through all says.
#[test]
fn a_search_by_parts_finds_what_a_search_through_all_finds() {
    let mut state = 1_u64;
    let mut random = move |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % bound
    };
    for count in [1, 2, 3, 5, 64, 1000] {
        for span in [16, 1 << 12, 1 << 31, 1 << 33] {
            let functions: Vec<_> = (0..count)
                .map(|name| (0x7fff_0000 + random(span), 1 + random(40) as u32, name))
                .collect();
            let table = table(&functions, &[]);
            for _ in 0..500 {
                let address = 0x7fff_0000 + random(span + 100);
                let nearest = functions.iter().filter(|(start, ..)| *start <= address);
                let nearest = nearest.max_by_key(|(start, size, name)| (*start, *size, *name));
                let holding = nearest.filter(|(start, size, _)| address - start < u64::from(*size));
                if let Some(&(_, _, expected)) = holding {
                    assert_eq!(
                        name(&table, address),
                        Some(expected),
                        "{count} {span} {address:#x}"
                    );
                } else if let Some(found) = table.find(address) {
                    assert!(found.addresses.contains(&address));
                }
            }
        }
    }
}
