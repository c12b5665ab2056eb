//! Columns across the border, after Arrow's C Data Interface.   ArrayRef ─► [`Arguments`] ─► library ─► [`Column`] ─► ArrayRef
//!
//! Written out here, for only flat columns cross it: numbers, booleans, texts, bytes, times. No value is copied: what goes out keeps its
//! buffers alive until the library releases it, what comes in is released when the last array over it is dropped. The structs are
//! those of <https://arrow.apache.org/docs/format/CDataInterface.html> and of arroyo-udf-common 0.2; their layout is the contract.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, TimeUnit};

/// `struct ArrowSchema`
#[repr(C)]
pub struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray`
#[repr(C)]
pub struct Values {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Values,
    dictionary: *mut Values,
    release: Option<unsafe extern "C" fn(*mut Values)>,
    private_data: *mut c_void,
}

/// arroyo-udf-common's `FfiArraySchema`: a column.
#[repr(C)]
pub struct Column(Values, Schema);

/// arroyo-udf-common's `FfiArrays`: the arguments of a call, or what an async function has ready.
#[repr(C)]
pub struct Columns {
    pointer: *mut Column,
    length: usize,
    capacity: usize,
    error: bool,
}

/// arroyo-udf-common's `RunResult`.
#[repr(C)]
#[allow(dead_code)] // made by libraries
pub enum RunResult {
    Ok(Column),
    Err,
}

// SAFETY: a column is owned by whoever holds it; its memory is freed by functions that may be called from any thread.
unsafe impl Send for Column {}
// SAFETY: as above.
unsafe impl Send for Columns {}

const NULLABLE: i64 = 2;

/// The format string of a type that crosses the border.
fn format(data_type: &DataType) -> Option<&'static CStr> {
    Some(match data_type {
        DataType::Boolean => c"b",
        DataType::Int8 => c"c",
        DataType::UInt8 => c"C",
        DataType::Int16 => c"s",
        DataType::UInt16 => c"S",
        DataType::Int32 => c"i",
        DataType::UInt32 => c"I",
        DataType::Int64 => c"l",
        DataType::UInt64 => c"L",
        DataType::Float32 => c"f",
        DataType::Float64 => c"g",
        DataType::Utf8 => c"u",
        DataType::Binary => c"z",
        DataType::Timestamp(TimeUnit::Microsecond, None) => c"tsu:",
        DataType::Duration(TimeUnit::Microsecond) => c"tDu",
        _ => return None,
    })
}

unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: the interface calls it with the schema that it was given; its strings are static.
    if let Some(schema) = unsafe { schema.as_mut() } {
        schema.release = None;
    }
}

/// What an exported column keeps alive.
struct Kept {
    _buffers: Vec<Option<Buffer>>,
    pointers: Vec<*const c_void>,
}

unsafe extern "C" fn release_values(values: *mut Values) {
    // SAFETY: the interface calls it with the array that it was given, once; `private_data` is the box made in `export`.
    if let Some(values) = unsafe { values.as_mut() } {
        values.release = None;
        let kept = std::mem::replace(&mut values.private_data, null_mut()).cast::<Kept>();
        if !kept.is_null() {
            // SAFETY: as above.
            drop(unsafe { Box::from_raw(kept) });
        }
    }
}

/// A column for a library; `None` for a type that cannot cross.
fn export(array: &dyn Array) -> Option<Column> {
    let format = format(array.data_type())?;
    let data = array.to_data();
    let (offset, length) = (data.offset(), data.len());
    // Bits are made to begin with a byte, so that the offset is 0 for values and for validity.
    let nulls = data.nulls().map(|nulls| nulls.inner().sliced());
    let mut buffers = vec![nulls];
    match data.data_type() {
        DataType::Boolean => buffers.push(Some(data.buffers().first()?.bit_slice(offset, length))),
        DataType::Utf8 | DataType::Binary => {
            let [offsets, values] = data.buffers() else { return None };
            let offsets = match offsets.is_empty() {
                true => Buffer::from_vec(vec![0_i32]),
                false => offsets.slice_with_length(offset * 4, (length + 1) * 4),
            };
            buffers.extend([Some(offsets), Some(values.clone())]);
        }
        primitive => {
            let width = primitive.primitive_width()?;
            buffers.push(Some(data.buffers().first()?.slice_with_length(offset * width, length * width)));
        }
    }
    let pointers = buffers.iter().map(|b| b.as_ref().map_or(null(), |b| b.as_ptr().cast::<c_void>())).collect();
    let mut kept = Box::new(Kept { _buffers: buffers, pointers });
    let values = Values {
        length: i64::try_from(length).ok()?,
        null_count: i64::try_from(data.null_count()).ok()?,
        offset: 0,
        n_buffers: i64::try_from(kept.pointers.len()).ok()?,
        n_children: 0,
        buffers: kept.pointers.as_mut_ptr(),
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_values),
        private_data: Box::into_raw(kept).cast(),
    };
    let schema = Schema {
        format: format.as_ptr(),
        name: c"".as_ptr(),
        metadata: null(),
        flags: NULLABLE,
        n_children: 0,
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_schema),
        private_data: null_mut(),
    };
    Some(Column(values, schema))
}

impl Drop for Column {
    /// What nobody took over is released; a column that was handed over must be forgotten.
    fn drop(&mut self) {
        let (values, schema) = (&raw mut self.0, &raw mut self.1);
        // SAFETY: both are alive, and whoever releases them sets `release` to none.
        unsafe {
            if let Some(release) = (*values).release {
                release(values);
            }
            if let Some(release) = (*schema).release {
                release(schema);
            }
        }
    }
}

impl Columns {
    /// The arguments of a call. The library frees their list with malloc's `free`, so it is made with the system's allocator, whatever
    /// ours is. `None` if a type cannot cross.
    pub fn of(arrays: &[ArrayRef]) -> Option<Self> {
        let columns = arrays.iter().map(|array| export(array)).collect::<Option<Vec<Column>>>()?;
        let length = columns.len();
        let layout = Layout::array::<Column>(length).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the layout has a size.
        let pointer = unsafe { System.alloc(layout) }.cast::<Column>();
        if pointer.is_null() {
            return None;
        }
        for (index, column) in columns.into_iter().enumerate() {
            // SAFETY: there is room for `length` columns.
            unsafe { pointer.add(index).write(column) };
        }
        Some(Self { pointer, length, capacity: length, error: false })
    }

    /// The columns that a library gave; the list is freed as it was made, by the system's allocator.
    pub fn into_columns(self) -> Vec<Column> {
        // SAFETY: the library made a list of `length` columns and gave it away.
        let columns = (0..self.length).map(|index| unsafe { self.pointer.add(index).read() }).collect();
        if let Ok(layout) = Layout::array::<Column>(self.capacity)
            && layout.size() > 0
        {
            // SAFETY: libraries allocate with the system's allocator unless they choose another, which docs/udfs.md forbids.
            unsafe { System.dealloc(self.pointer.cast(), layout) };
        }
        columns
    }
}

/// An imported column's memory; released with the last buffer over it.
struct Owner(#[allow(dead_code)] Column); // for its Drop
// SAFETY: the memory is not written by anyone any more; releasing may happen on any thread.
unsafe impl Sync for Owner {}
impl std::panic::RefUnwindSafe for Owner {}

impl Column {
    /// Its values as `data_type`.
    ///
    /// # Errors
    /// What it is instead.
    pub fn into_array(self, data_type: &DataType) -> Result<ArrayRef, String> {
        let given = if self.1.format.is_null() {
            "nothing".to_owned()
        } else {
            // SAFETY: the interface has a string there that ends with 0.
            unsafe { CStr::from_ptr(self.1.format) }.to_string_lossy().into_owned()
        };
        let wanted = format(data_type).ok_or_else(|| format!("a column of type {data_type}"))?;
        if self.0.release.is_none() || given != wanted.to_string_lossy() {
            return Err(format!("a column of format \"{given}\" instead of \"{}\"", wanted.to_string_lossy()));
        }
        let size = |n: i64| usize::try_from(n).map_err(|_| "a column of negative size".to_owned());
        let (length, offset) = (size(self.0.length)?, size(self.0.offset)?);
        let wanted_buffers = if matches!(data_type, DataType::Utf8 | DataType::Binary) { 3 } else { 2 };
        if size(self.0.n_buffers)? != wanted_buffers || self.0.buffers.is_null() {
            return Err(format!("a column with {} buffers", self.0.n_buffers));
        }
        // SAFETY: there are as many pointers.
        let pointers: Vec<*const c_void> = (0..wanted_buffers).map(|i| unsafe { *self.0.buffers.add(i) }).collect();
        let null_count = self.0.null_count;
        let owner = Arc::new(Owner(self));
        let buffer = |index: usize, bytes: usize| -> Result<Buffer, String> {
            let pointer = NonNull::new(pointers.get(index).copied().unwrap_or(null()).cast::<u8>().cast_mut());
            match pointer {
                // Of values that may be of any type, which wants its alignment even where there is nothing.
                _ if bytes == 0 => Ok(Buffer::from_vec(Vec::<u64>::new())),
                // SAFETY: the interface promises so many bytes there, for as long as the column is not released.
                Some(pointer) => Ok(unsafe { Buffer::from_custom_allocation(pointer, bytes, Arc::clone(&owner) as _) }),
                None => Err("a column without values".to_owned()),
            }
        };
        let end = offset + length;
        let values = match data_type {
            DataType::Boolean => vec![buffer(1, end.div_ceil(8))?],
            DataType::Utf8 | DataType::Binary => {
                let offsets = buffer(1, if length == 0 { 0 } else { (end + 1) * 4 })?;
                let last = if length == 0 { 0 } else { offsets.typed_data::<i32>().get(end).copied().unwrap_or(0) };
                let last = usize::try_from(last).map_err(|_| "a column with negative offsets".to_owned())?;
                let offsets = if length == 0 { Buffer::from_vec(vec![0_i32]) } else { offsets };
                vec![offsets, buffer(2, last)?]
            }
            primitive => vec![buffer(1, end * primitive.primitive_width().unwrap_or(0))?],
        };
        let offset = if length == 0 { 0 } else { offset };
        let nulls = (null_count != 0 && length > 0 && !pointers.first().copied().unwrap_or(null()).is_null())
            .then(|| buffer(0, end.div_ceil(8)))
            .transpose()?;
        // `build` checks everything: lengths, offsets, UTF-8; a scan of the values, where there is something that could be wrong.
        let data = ArrayData::builder(data_type.clone()).len(length).offset(offset).buffers(values).null_bit_buffer(nulls);
        let data = data.build().map_err(|e| format!("a broken column ({e})"))?;
        Ok(make_array(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        AsArray, BinaryArray, BooleanArray, Float64Array, Int8Array, StringArray, TimestampMicrosecondArray, UInt64Array,
    };

    #[test]
    fn the_layout_is_that_of_the_interface() {
        assert_eq!((size_of::<Values>(), size_of::<Schema>(), size_of::<Columns>()), (80, 72, 32));
        assert_eq!(size_of::<RunResult>(), 160);
    }

    #[test]
    fn a_column_comes_back_as_it_went_however_it_was_sliced() {
        let bits: Vec<Option<bool>> = (0..40).map(|i| (i % 3 != 0).then_some(i % 2 == 0)).collect();
        let words: Vec<Option<String>> = (0..40).map(|i| (i % 5 != 0).then(|| "ä".repeat(i))).collect();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(BooleanArray::from(bits)),
            Arc::new(StringArray::from(words.clone())),
            Arc::new(words.iter().map(|w| w.as_ref().map(String::as_bytes)).collect::<BinaryArray>()),
            Arc::new((0..40).map(|i| (i % 7 != 0).then_some(f64::from(i))).collect::<Float64Array>()),
            Arc::new((0..40_i8).collect::<Vec<_>>().into_iter().map(Some).collect::<Int8Array>()),
            Arc::new((0..40).collect::<UInt64Array>()),
            Arc::new((0..40).map(|i| (i % 2 == 0).then_some(i)).collect::<TimestampMicrosecondArray>()),
        ];
        for array in arrays {
            for (offset, length) in [(0, 40), (0, 0), (3, 30), (9, 1), (17, 0), (8, 32)] {
                let slice = array.slice(offset, length);
                let column = export(&slice).unwrap();
                let back = column.into_array(array.data_type()).unwrap();
                assert_eq!(&back, &slice, "{} {offset} {length}", array.data_type());
            }
        }
    }

    #[test]
    fn memory_lives_as_long_as_the_last_array_and_no_longer() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["a", "bb"]));
        let text = array.to_data().buffers()[1].clone();
        let columns = Columns::of(&[Arc::clone(&array)]).unwrap().into_columns();
        let back = columns.into_iter().next().unwrap().into_array(&DataType::Utf8).unwrap();
        let part = back.slice(1, 1);
        drop((back, array));
        assert_eq!(part.as_string::<i32>().value(0), "bb");
        assert!(text.strong_count() > 1, "the slice holds it");
        drop(part);
        assert_eq!(text.strong_count(), 1, "nobody does any more");
    }

    #[test]
    fn another_type_is_refused() {
        let column = export(&Float64Array::from(vec![1.0])).unwrap();
        let said = column.into_array(&DataType::Int64).unwrap_err();
        assert_eq!(said, "a column of format \"g\" instead of \"l\"");
        assert!(Columns::of(&[Arc::new(arrow::array::StringViewArray::from(vec!["a"])) as ArrayRef]).is_none());
    }
}
