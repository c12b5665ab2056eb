//! The distance between two points on the Earth: the usual first function of a fraud query ("500 km from the last payment").

use arroyo_udf_plugin::udf;

const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Kilometres along the great circle between two points given in degrees.
#[udf]
fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let half_lat = ((lat2 - lat1).to_radians() / 2.0).sin();
    let half_lon = ((lon2 - lon1).to_radians() / 2.0).sin();
    let h = half_lat * half_lat + lat1.to_radians().cos() * lat2.to_radians().cos() * half_lon * half_lon;
    2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
}
