//! Images: whole or not at all, newest first, the spare when the newest is harmed.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::storage::{
    DataDir, ImageMeta, Images, StorageError,
    vfs::sim::{Crash, Fault, SimFs},
};

fn meta(index: u64) -> ImageMeta {
    ImageMeta { index, term: 2, leader: 1, extra: Bytes::from_static(b"members") }
}

fn chunks(index: u64) -> Vec<Bytes> {
    (0..3).map(|number| Bytes::from(vec![(index + number) as u8 | 1; 300])).collect()
}

fn open(fs: &SimFs) -> Result<Images, StorageError> {
    Images::open(&DataDir::open(Arc::new(fs.clone()), "/data")?)
}

fn newest(images: &Images) -> Option<(u64, usize)> {
    let newest = images.newest().unwrap()?;
    let index = newest.image.meta.index;
    assert_eq!(newest.image.meta, meta(index));
    let read: Vec<Bytes> = newest.image.chunks().map(Result::unwrap).collect();
    assert_eq!(read, chunks(index));
    Some((index, newest.damaged.len()))
}

#[test]
fn the_newest_two_are_kept_and_the_spare_steps_in() {
    let fs = SimFs::new(1);
    let images = open(&fs).unwrap();
    assert_eq!(newest(&images), None);
    for index in [3, 7, 1_000] {
        images.write(&meta(index), chunks(index).into_iter()).unwrap();
    }
    assert_eq!(newest(&images), Some((1_000, 0)));
    assert_eq!(images.spare().unwrap().unwrap().index, 7);
    let path = PathBuf::from("/data/images/00000000000000001000.image");
    let good = fs.contents(&path).unwrap();
    for byte in 0..good.len() {
        let mut bytes = good.clone();
        bytes[byte] ^= 1 << (byte % 8);
        fs.damage(&path, &bytes);
        assert_eq!(newest(&images), Some((7, 1)), "byte {byte}");
    }
    for length in [0, 20, good.len() - 1] {
        fs.damage(&path, &good[..length]);
        assert_eq!(newest(&images), Some((7, 1)), "cut to {length}");
    }
    fs.lose(&PathBuf::from("/data/images/00000000000000000007.image"));
    assert!(matches!(images.newest(), Err(StorageError::Damaged { .. })));
}

#[test]
fn a_new_image_takes_the_place_of_a_damaged_one_and_the_whole_spare_stays() {
    let fs = SimFs::new(1);
    let images = open(&fs).unwrap();
    for index in [3, 7] {
        images.write(&meta(index), chunks(index).into_iter()).unwrap();
    }
    let path = |index: u64| PathBuf::from(format!("/data/images/{index:020}.image"));
    let damage = |index: u64| {
        let mut bytes = fs.contents(&path(index)).unwrap();
        bytes[500] ^= 4;
        fs.damage(&path(index), &bytes);
    };
    damage(7);
    assert_eq!(newest(&images), Some((3, 1)));
    assert!(matches!(images.spare(), Ok(Some(spare)) if spare.index == 3));
    images.write(&meta(9), chunks(9).into_iter()).unwrap();
    assert_eq!(images.spare().unwrap().unwrap().index, 3, "the whole one, not the damaged one, is the spare");
    assert!(fs.contents(&path(7)).is_none(), "the damaged one is gone");
    damage(9);
    assert_eq!(newest(&images), Some((3, 1)));
    images.write(&meta(9), chunks(9).into_iter()).unwrap();
    assert_eq!(newest(&images), Some((9, 0)), "written again over the damaged one");
    damage(3);
    assert!(matches!(images.spare(), Err(StorageError::Damaged { .. })), "a damaged spare is named");
}

#[test]
fn a_crash_at_any_point_leaves_the_old_or_the_new_one() {
    let (mut fired, mut new) = (0, 0);
    for (fault, seed) in [Fault::PowerOff, Fault::Io, Fault::NoSpace].into_iter().zip([10u64, 20, 30]) {
        for point in 0.. {
            let fs = SimFs::new(seed + point);
            let images = open(&fs).unwrap();
            images.write(&meta(3), chunks(3).into_iter()).unwrap();
            images.write(&meta(7), chunks(7).into_iter()).unwrap();
            fs.fail_at(fs.operations() + point, fault);
            let written = images.write(&meta(9), chunks(9).into_iter());
            if fs.fired() == 0 {
                break;
            }
            fired += 1;
            drop(images);
            fs.restart(Crash::Power(seed * 77 + point));
            let (found, damaged) = newest(&open(&fs).unwrap()).unwrap();
            assert_eq!(damaged, 0);
            assert!(found == 9 || (found == 7 && written.is_err()), "{fault:?} at {point}: {found}");
            new += u32::from(found == 9);
        }
    }
    println!("{fired} faults, {new} times the new image was there");
    assert!(fired >= 15 && new > 0 && new < fired, "{fired} {new}");
}
